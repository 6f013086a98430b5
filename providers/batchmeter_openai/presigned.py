"""An upload in three steps: the vendor names a place, the bytes go there without a key, the vendor is told."""

import asyncio
import ipaddress
import secrets
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import IO, Any
from urllib.parse import urlsplit

from batchmeter.errors import APIResponseError, ConflictError
from batchmeter.http import Body, HttpClient, origin_of
from batchmeter.providers import CallOptions, FileUpload

from .wire import path

CHUNK = 64 * 1024
_ID_HEADER = "x-together-file-id"


async def upload_presigned(
    http: HttpClient, upload: FileUpload, fields: Mapping[str, str], options: CallOptions
) -> Any:
    """The JSON of the vendor's file object. A file that the vendor has already, by its content, is that file."""
    form = _form({**fields, "file_name": upload.filename, "file_type": "jsonl"})
    try:
        place = await http.request(
            "POST",
            "files",
            body=form,
            headers=options.extra_headers,
            timeout=options.timeout,
            retry="create",
            moved=True,
        )
    except ConflictError as error:
        known = error.body.get("file_id") if isinstance(error.body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if not isinstance(known, str):
            raise
        return await _json(http, "GET", path("files", known), options)
    file_id, location = place.headers.get(_ID_HEADER), place.headers.get("location")
    if not file_id or not location:
        raise APIResponseError(f"{http.base_url} named no place for an upload (status {place.status_code})")
    _check(http.base_url, location)
    async with _sized(upload) as sized:
        store = HttpClient(_bare(location), timeout=http.timeout, max_retries=http.max_retries, secrets=[location])
        try:
            body = Body(sized.open, "application/jsonl", sized.size, sized.replayable)
            await store.request("PUT", location, body=body, timeout=options.timeout)
        finally:
            await store.aclose()
    return await _json(http, "POST", path("files", file_id, "preprocess"), options)


async def _json(http: HttpClient, method: str, where: str, options: CallOptions) -> Any:
    answer = await http.request(method, where, headers=options.extra_headers, timeout=options.timeout)
    return answer.json()


def _check(base: str, location: str) -> None:
    """The place is on the internet, and as safe as the API itself: an answer sends nobody's file into their own network."""
    mine, theirs = origin_of(base), origin_of(location)
    if theirs[1] == mine[1] and theirs[0] == mine[0]:
        return
    try:
        inside = not ipaddress.ip_address(theirs[1]).is_global
    except ValueError:
        inside = theirs[1] == "localhost" or "." not in theirs[1]
    if theirs[0] != "https" or inside:
        raise APIResponseError(f"{base} named {theirs[0]}://{theirs[1]} as the place for an upload, which is refused")


def _bare(location: str) -> str:
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc}"


def _form(fields: Mapping[str, str]) -> Body:
    """A form without a file."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    ]
    content = ("".join(parts) + f"--{boundary}--\r\n").encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return Body(chunks, f"multipart/form-data; boundary={boundary}", len(content), replayable=True)


@asynccontextmanager
async def _sized(upload: FileUpload) -> AsyncGenerator[FileUpload]:
    """Storage wants to know the length first: an upload of unknown length is put on the disk meanwhile."""
    if upload.size is not None:
        yield upload
        return
    with tempfile.TemporaryFile() as held:
        size = 0
        async for chunk in upload.open():
            size += await asyncio.to_thread(held.write, chunk)
        yield replace(upload, size=size, replayable=True, form=None, open=lambda: _read(held))


async def _read(held: IO[bytes]) -> AsyncIterator[bytes]:
    await asyncio.to_thread(held.seek, 0)
    while chunk := await asyncio.to_thread(held.read, CHUNK):
        yield chunk
