"""What callers hand over as `file=`, made into a stream that a provider can send."""

import asyncio
import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from .errors import UsageError
from .providers import FileUpload

CHUNK = 256 * 1024

Content: TypeAlias = "bytes | IO[bytes] | os.PathLike[str] | str | Iterable[bytes] | AsyncIterable[bytes]"
FileTypes: TypeAlias = "Content | tuple[str | None, Content] | tuple[str | None, Content, str | None]"
"""As the OpenAI SDK: content, `(filename, content)` or `(filename, content, content_type)`. A str is a path."""


def upload_of(file: FileTypes, *, purpose: str, expires_after: Mapping[str, Any] | None = None) -> FileUpload:
    """UsageError for a missing file, a file opened as text, or something that is no file."""
    filename, content, content_type = _parts(file)
    if isinstance(content, str | os.PathLike):
        path = Path(content)
        if not path.is_file():
            raise UsageError(f"no such file: {path}")
        return FileUpload(
            filename or path.name,
            purpose,
            lambda: _from_path(path),
            size=path.stat().st_size,
            content_type=content_type,
            expires_after=expires_after,
        )
    if isinstance(content, bytes | bytearray | memoryview):
        data = bytes(content)
        return FileUpload(
            filename or "upload.jsonl",
            purpose,
            lambda: _from_bytes(data),
            size=len(data),
            content_type=content_type,
            expires_after=expires_after,
        )
    if hasattr(content, "read"):
        return _from_handle(cast("IO[bytes]", content), filename, purpose, content_type, expires_after)
    if hasattr(content, "__aiter__") or hasattr(content, "__iter__"):
        stream: Iterable[bytes] | AsyncIterable[bytes] = content
        return FileUpload(
            filename or "upload.jsonl",
            purpose,
            lambda: _from_iterable(stream),
            replayable=False,
            content_type=content_type,
            expires_after=expires_after,
        )
    raise UsageError(f"file= takes a path, bytes, a binary file or an iterable of bytes, not {type(content).__name__}")


def _parts(file: FileTypes) -> tuple[str | None, Content, str]:
    if not isinstance(file, tuple):
        return None, file, "application/jsonl"
    filename, content, *rest = cast("tuple[str | None, Content, *tuple[str | None, ...]]", file)
    return filename, content, (rest[0] if rest and rest[0] else "application/jsonl")


def _from_handle(
    handle: IO[bytes], filename: str | None, purpose: str, content_type: str, expires_after: Mapping[str, Any] | None
) -> FileUpload:
    if isinstance(handle, io.TextIOBase):
        raise UsageError("file= was opened as text: open it with mode 'rb'")
    name = filename or Path(str(getattr(handle, "name", "") or "upload.jsonl")).name
    start, size = _extent(handle)
    return FileUpload(
        name,
        purpose,
        lambda: _read(handle, start),
        size=size,
        replayable=start is not None,
        content_type=content_type,
        expires_after=expires_after,
    )


def _extent(handle: IO[bytes]) -> tuple[int | None, int | None]:
    """Where the handle stands and how many bytes follow, if it can seek."""
    try:
        start = handle.tell()
        end = handle.seek(0, os.SEEK_END)
        handle.seek(start)
    except (OSError, ValueError, AttributeError):
        return None, None
    return start, end - start


async def _from_path(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as handle:
        async for chunk in _read(handle, None):
            yield chunk


async def _read(handle: IO[bytes], start: int | None) -> AsyncIterator[bytes]:
    if start is not None:
        await asyncio.to_thread(handle.seek, start)
    while chunk := await asyncio.to_thread(handle.read, CHUNK):
        yield chunk


async def _from_bytes(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


async def _from_iterable(stream: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(stream, AsyncIterable):
        async for chunk in stream:
            yield chunk
        return
    iterator = iter(stream)
    end = object()
    while (piece := await asyncio.to_thread(_next_of, iterator, end)) is not end:
        yield cast("bytes", piece)


def _next_of(iterator: Iterator[bytes], end: object) -> object:
    return next(iterator, end)
