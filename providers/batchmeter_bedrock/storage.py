"""S3 over its REST API: look, list, read, write, delete. Each body's hash is signed, so what arrives is what was sent."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote_plus

from batchmeter.errors import APIResponseError, APIStatusError, NotFoundError
from batchmeter.http import CHUNK, Body, Headers, HttpClient, Response
from batchmeter.providers import CallOptions, ContentStream
from batchmeter_translate.shape import fresh_token, whole

from .failure import aws_errors, renamed, xml_text
from .names import Blob
from .signing import EMPTY, HASH

_CONTENTS = re.compile(rb"<Contents>(.*?)</Contents>", re.DOTALL)
_MOVED = range(300, 400)
PLAIN = CallOptions()


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is there."""

    blob: Blob
    size: int
    at: int | None
    """Epoch seconds of its last change."""
    notes: Mapping[str, str]
    """Its metadata, where it was looked at; empty in a list."""


class Storage:
    """One account's access to objects."""

    def __init__(self, http: HttpClient, owner: str | None) -> None:
        self._http = http
        self._owner = {} if owner is None else {"x-amz-expected-bucket-owner": owner}

    async def look(self, blob: Blob, options: CallOptions = PLAIN) -> Stored:
        """NotFoundError."""
        headers = (await self._call("HEAD", blob, {}, options)).headers
        notes = {
            name.removeprefix("x-amz-meta-"): text for name, text in headers.items() if name.startswith("x-amz-meta-")
        }
        return Stored(blob, whole(headers.get("content-length")), _date(headers.get("last-modified")), notes)

    async def below(self, folder: Blob) -> AsyncIterator[Stored]:
        """Every object whose key begins so, by key."""
        bucket = Blob(folder.bucket, "")
        query: dict[str, str] = {"list-type": "2", "prefix": folder.key, "encoding-type": "url"}
        tokens: set[str] = set()
        while True:
            content = (await self._call("GET", bucket, query)).content
            if b"<ListBucketResult" not in content:
                raise APIResponseError(f"S3 answered a list of {folder.uri} with something else")
            for stored in await asyncio.to_thread(_items, folder.bucket, content):
                yield stored
            token = xml_text(content, "NextContinuationToken")
            if not token or xml_text(content, "IsTruncated") != "true":
                return
            query["continuation-token"] = fresh_token(token, tokens, f"S3's list of {folder.uri}")

    @asynccontextmanager
    async def read(self, blob: Blob, options: CallOptions = PLAIN) -> AsyncGenerator[ContentStream]:
        """A `range` among the extra headers gets that part."""
        headers = {"accept": "*/*", **options.extra_headers, **self._owner, HASH: EMPTY}
        path = _path(blob, dict(options.extra_query))
        async with AsyncExitStack() as stack:
            with aws_errors(blob):  # not of what a reader does with the bytes
                response = await stack.enter_async_context(
                    self._http.stream("GET", path, headers=headers, timeout=options.timeout)
                )
            kind = response.headers.get("content-type", "application/octet-stream")
            yield ContentStream(response.chunks, kind, response.size, response.headers, response.status_code)

    async def put(
        self, blob: Blob, query: Mapping[str, str], data: bytes, digest: str, headers: Headers, options: CallOptions
    ) -> Response:
        """An object, or a part of one, from memory; `digest`: its SHA-256."""
        kind = headers.get("content-type", "application/octet-stream")
        given = {**headers, HASH: digest}
        return await self._call("PUT", blob, query, options, given, Body(lambda: _pieces(data), kind, len(data)))

    async def post(
        self, blob: Blob, query: Mapping[str, str], data: bytes, headers: Headers, options: CallOptions
    ) -> bytes:
        """A step of an upload in parts. S3 may fail one with 200, once it has begun to answer."""
        given = {**headers, HASH: hashlib.sha256(data).hexdigest()}
        kind = headers.get("content-type", "application/xml")
        answer = await self._call("POST", blob, query, options, given, Body(lambda: _pieces(data), kind, len(data)))
        if b"<Error>" in answer.content:
            message = f"S3: {xml_text(answer.content, 'Message')}"
            raise renamed(APIStatusError(message, status_code=500, body=None, content=answer.content, headers={}), blob)
        return answer.content

    async def delete(self, blob: Blob, query: Mapping[str, str] | None = None, options: CallOptions = PLAIN) -> None:
        """S3 says the same of an object that was not there."""
        await self._call("DELETE", blob, query or {}, options)

    async def there(self, blob: Blob) -> bool:
        try:
            await self.look(blob)
        except NotFoundError:
            return False
        return True

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _call(
        self,
        method: str,
        blob: Blob,
        query: Mapping[str, str],
        options: CallOptions = PLAIN,
        headers: Headers | None = None,
        body: Body | None = None,
    ) -> Response:
        given = {"accept": "*/*", **options.extra_headers, HASH: EMPTY, **(headers or {}), **self._owner}
        path = _path(blob, {**options.extra_query, **query})
        with aws_errors(blob):
            answer = await self._http.request(
                method, path, body=body, headers=given, timeout=options.timeout, moved=method != "GET"
            )
        if answer.status_code in _MOVED:  # a HEAD of a bucket elsewhere says no more
            raise APIResponseError(f"the bucket {blob.bucket!r} is in another region: set `bucket_region`")
        return answer


def _path(blob: Blob, query: Mapping[str, Any]) -> str:
    """The query is escaped here, in the one way that is signed."""
    pairs = "&".join(f"{quote(name, safe='-_.~')}={quote(str(text), safe='-_.~')}" for name, text in query.items())
    path = blob.path if blob.key else blob.path.removesuffix("/")  # a key may end in a slash
    return f"{path}{'?' if pairs else ''}{pairs}"


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    view = memoryview(data)
    for start in range(0, len(view), CHUNK):
        yield bytes(view[start : start + CHUNK])


def _items(bucket: str, content: bytes) -> list[Stored]:
    escaped = xml_text(content, "EncodingType") == "url"
    return [_item(bucket, item, escaped=escaped) for item in _CONTENTS.findall(content)]


def _item(bucket: str, xml: bytes, *, escaped: bool) -> Stored:
    key = xml_text(xml, "Key") or ""
    try:
        at = int(datetime.fromisoformat(xml_text(xml, "LastModified") or "").timestamp())
    except ValueError:
        at = None
    return Stored(Blob(bucket, unquote_plus(key) if escaped else key), whole(xml_text(xml, "Size")), at, {})


def _date(text: str | None) -> int | None:
    try:
        return None if text is None else int(parsedate_to_datetime(text).timestamp())
    except ValueError:
        return None
