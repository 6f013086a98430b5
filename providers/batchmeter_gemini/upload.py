"""Resumable uploads of spooled rows: 8 MiB at a time, each piece retried from where Google says it stands."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from batchmeter.errors import APIConnectionError, APIResponseError, APIStatusError, InternalServerError
from batchmeter.http import Body, Response

from .api import Api

PIECE = 8 * 1024 * 1024
"""Bytes per request, a multiple of 256 KiB as the protocol asks."""
_CHUNK = 256 * 1024
_TRIES = 6
_RETRIED = (408, 429)


async def upload(api: Api, path: Path, name: str, shown: str) -> None:
    """The file at `path` as `files/<name>` there."""
    size = await asyncio.to_thread(lambda: path.stat().st_size)
    started = await api.start_upload(size, name, shown)
    url = _session(started.headers.get("x-goog-upload-url"), api.base)
    at, failures = 0, 0
    while True:
        end = min(at + PIECE, size)
        try:
            answer = await _send(api, url, path, at, end, last=end == size)
        except (APIConnectionError, APIStatusError) as error:
            failures += 1
            if failures == _TRIES or not _passes(error):
                raise
            await api.sleep(min(0.5 * 2.0**failures, 8.0))
            received = await _received(api, url, at)
            if received is None:
                return
            at = received
            continue
        if end == size:
            if answer.headers.get("x-goog-upload-status") not in (None, "final"):
                raise APIResponseError("Gemini did not finish an upload that was sent whole")
            return
        at, failures = end, 0


async def _send(api: Api, url: str, path: Path, start: int, end: int, *, last: bool) -> Response:
    headers = {"x-goog-upload-command": "upload, finalize" if last else "upload", "x-goog-upload-offset": str(start)}
    body = Body(lambda: _part(path, start, end), "application/jsonl", end - start)
    return await api.upload(url, headers, body=body)


async def _received(api: Api, url: str, at: int) -> int | None:
    """From where to go on; None: all of it is there. The same place while that is not to be known."""
    try:
        answer = await api.upload(url, {"x-goog-upload-command": "query"})
    except (APIConnectionError, InternalServerError):
        return at
    if answer.headers.get("x-goog-upload-status") == "final":
        return None
    received = answer.headers.get("x-goog-upload-size-received", "")
    return int(received) if received.isdecimal() else at


async def _part(path: Path, start: int, end: int) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        file.seek(start)
        while start < end and (chunk := await asyncio.to_thread(file.read, min(_CHUNK, end - start))):
            start += len(chunk)
            yield chunk
    finally:
        file.close()


def _session(url: str | None, base: str) -> str:
    """The session's path and query at the account's own address, whatever host the answer names: a key goes nowhere else."""
    try:
        named, own = urlsplit(url or ""), urlsplit(base)
    except ValueError:
        named = urlsplit("")
        own = named
    if not named.path:
        raise APIResponseError("Gemini opened an upload without saying where")
    return own._replace(path=named.path, query=named.query, fragment="").geturl()


def _passes(error: Exception) -> bool:
    if isinstance(error, APIConnectionError):
        return True
    return isinstance(error, InternalServerError) or (
        isinstance(error, APIStatusError) and error.status_code in _RETRIED
    )
