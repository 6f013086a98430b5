"""Cloud Storage objects over its JSON API: look, list, read, delete."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from batchmeter.errors import APIResponseError, NotFoundError
from batchmeter.http import HttpClient
from batchmeter.models import FileObject
from batchmeter.providers import CallOptions, ContentStream
from batchmeter_translate.shape import Json, fresh_token, mapping, modelled, objects, whole

from .names import Blob

_FIELDS = "name,bucket,size,timeCreated,contentType,metadata"


class Storage:
    """One account's access to objects."""

    def __init__(self, http: HttpClient) -> None:
        self.http = http

    async def look(self, blob: Blob, options: CallOptions | None = None) -> Json:
        """The object's metadata; NotFoundError."""
        options = options or CallOptions()
        response = await self.http.request(
            "GET", blob.path, params=options.extra_query, headers=options.extra_headers, timeout=options.timeout
        )
        return mapping(response.json())

    async def below(self, folder: Blob) -> AsyncIterator[Json]:
        """Metadata of every object whose name begins so, by name."""
        params: dict[str, Any] = {"prefix": folder.key, "fields": f"items({_FIELDS}),nextPageToken"}
        bucket = Blob(folder.bucket, "").path
        tokens: set[str] = set()
        while True:
            try:
                page = mapping((await self.http.request("GET", bucket.removesuffix("/"), params=params)).json())
            except NotFoundError as error:
                raise no_bucket(folder.bucket, error) from error
            for item in objects(page.get("items")):
                if isinstance(item.get("name"), str) and isinstance(item.get("bucket"), str):
                    yield item
            token = page.get("nextPageToken")
            if not token:
                return
            params["pageToken"] = fresh_token(token, tokens, f"Cloud Storage's list of {folder.uri}")

    async def delete(self, blob: Blob, options: CallOptions | None = None) -> None:
        options = options or CallOptions()
        await self.http.request(
            "DELETE", blob.path, params=options.extra_query, headers=options.extra_headers, timeout=options.timeout
        )

    async def discard(self, blob: Blob) -> None:
        """Delete, if it is there."""
        try:
            await self.delete(blob)
        except NotFoundError:
            return

    @asynccontextmanager
    async def read(self, blob: Blob, options: CallOptions | None = None) -> AsyncGenerator[ContentStream]:
        options = options or CallOptions()
        async with self.http.stream(
            "GET",
            blob.path,
            params={**options.extra_query, "alt": "media"},
            headers={"accept": "*/*", **options.extra_headers},
            timeout=options.timeout,
        ) as response:
            kind = response.headers.get("content-type", "application/octet-stream")
            yield ContentStream(response.chunks, kind, response.size, response.headers, response.status_code)


def no_bucket(bucket: str, error: NotFoundError) -> NotFoundError:
    """Google says "Not Found" and no more for a bucket that is not there; the same error with what to change."""
    message = (
        f'{error}: there is no bucket {bucket!r} for these credentials; set "bucket" in the account, or GCS_BUCKET_NAME'
    )
    return NotFoundError(
        message, status_code=error.status_code, body=error.body, content=error.content, headers=error.headers
    )


def file_object(blob: Blob, item: Json) -> FileObject:
    """An object's metadata in OpenAI's shape; what batchmeter noted at the upload wins over guesses."""
    noted = mapping(item.get("metadata"))
    size = item.get("size")
    if size is None:
        raise APIResponseError(f"Cloud Storage described {blob.uri} without its size")
    return modelled(
        FileObject,
        id=blob.id,
        bytes=whole(size),
        created_at=item.get("timeCreated"),
        filename=noted.get("batchmeter-filename") or blob.key.rsplit("/", 1)[-1],
        purpose=noted.get("batchmeter-purpose") or "batch",
        status="processed",
    )
