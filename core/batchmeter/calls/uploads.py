"""Files that callers hand over as `file=`, made into a stream that a provider can send."""

import asyncio
import hashlib
import inspect
import io
import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, TypeVar, cast

from batchmeter.errors import BatchmeterError, UsageError
from batchmeter.host import UploadReader
from batchmeter.providers import FileUpload

log = logging.getLogger("batchmeter")

CHUNK = 256 * 1024
STEP = 128 * 1024
"""Bytes that plugins may read in one go on the event loop: some milliseconds."""
_LONGEST_TEXT = 2_000
"""Characters that a plugin may keep with a file."""
_LONGEST_PATH = 4096
"""Characters; no system opens a longer one."""
CALLERS_LOOP: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("batchmeter_callers_loop", default=None)
"""The loop of who awaits a call that runs on the engine's: an async file or generator is read where it was made."""

Result = TypeVar("Result")


_Source: TypeAlias = tuple[Callable[[], AsyncIterator[bytes]], int | None, bool, str | None]
"""A pass over the bytes, their number if known, whether there can be a second pass, and a name."""


class AsyncReadable(Protocol):
    """An async file: aiofiles', anyio's, Starlette's and FastAPI's `UploadFile`."""

    def read(self, size: int = ..., /) -> Awaitable[bytes]: ...


Content: TypeAlias = bytes | IO[bytes] | AsyncReadable | os.PathLike[str] | str | Iterable[bytes] | AsyncIterable[bytes]
FileTypes: TypeAlias = (
    Content
    | tuple[str | None, Content]
    | tuple[str | None, Content, str | None]
    | tuple[str | None, Content, str | None, Mapping[str, str]]
)
"""As the OpenAI SDK: content, `(filename, content)`, … with the content's type and headers. A str is a path."""


@dataclass(slots=True)
class Sent:
    """An upload's bytes as they pass: how many, their SHA-256, and a plugin's text on them; the last pass counts."""

    begin: Callable[[], list[tuple[str, UploadReader]]]
    size: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)
    text: str | None = None
    """Left by a plugin, to be kept with the file."""

    async def watch(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self.size, self.sha256 = 0, hashlib.sha256()
        readers = Readers(self.begin())
        async for chunk in chunks:
            self.size += len(chunk)
            self.sha256.update(chunk)
            await readers.feed(chunk)
            yield chunk
        self.text = readers.close()


@dataclass(slots=True)
class Readers:
    """The plugins' readers of one pass: only a BatchmeterError of theirs stops the upload."""

    readers: list[tuple[str, UploadReader]]
    """Plugin's name and reader."""

    async def feed(self, chunk: bytes) -> None:
        """In steps that leave the event loop to others."""
        for start in range(0, len(chunk) if self.readers else 0, STEP):
            for name, reader in list(self.readers):
                self._call(name, reader, partial(reader.feed, chunk[start : start + STEP]))
            if len(chunk) > STEP:
                await asyncio.sleep(0)

    def close(self) -> str | None:
        """The text that is kept with the file."""
        texts = [self._call(name, reader, reader.close) for name, reader in list(self.readers)]
        return next((text for text in texts if text and len(text) <= _LONGEST_TEXT), None)

    def _call(self, name: str, reader: UploadReader, work: Callable[[], Result]) -> Result | None:
        try:
            return work()
        except BatchmeterError:
            raise
        except (Exception, SystemExit):
            log.exception("plugin %s: its reader of an upload failed", name)
            self.readers.remove((name, reader))
            return None


def watched(upload: FileUpload, begin: Callable[[], list[tuple[str, UploadReader]]]) -> tuple[FileUpload, Sent]:
    """The same upload, and what was sent of it."""
    sent, opened = Sent(begin), upload.open
    return replace(upload, open=lambda: sent.watch(opened())), sent


def upload_of(file: FileTypes, *, purpose: str, expires_after: Mapping[str, Any] | None = None) -> FileUpload:
    """UsageError for a missing file, a file opened as text or closed, or something that is no file."""
    filename, content, content_type = _parts(file)
    open_, size, replayable, own_name = _source(content)
    return FileUpload(
        _readable(filename or own_name or "upload.jsonl"),
        purpose,
        open_,
        size=size,
        replayable=replayable,
        content_type=content_type or "application/jsonl",
        expires_after=expires_after,
    )


def _source(content: Content) -> _Source:
    if isinstance(content, str | os.PathLike):
        path = _path(content)
        return lambda: _from_path(path), path.stat().st_size, True, path.name
    if isinstance(content, bytes | bytearray | memoryview):
        data = bytes(content)
        return lambda: _from_bytes(data), len(data), True, None
    if hasattr(content, "read"):
        return _from_handle(content)
    stream: Any = content
    if isinstance(stream, Iterable | AsyncIterable):
        return partial(_from_iterable, cast("Iterable[bytes] | AsyncIterable[bytes]", stream)), None, False, None
    raise UsageError(f"file= takes a path, bytes, a binary file or an iterable of bytes, not {type(content).__name__}")


def _path(content: str | os.PathLike[str]) -> Path:
    text = os.fspath(content)
    if not text:
        raise UsageError("file= is empty text, where a path is meant: give a path, or the content as bytes")
    if len(text) > _LONGEST_PATH or "\n" in text:
        raise UsageError("file= is text, which is taken for a path: give content as bytes, with .encode()")
    path = Path(text)
    if path.is_dir():
        raise UsageError(f"file= is a folder: {path}")
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    return path


def _parts(file: FileTypes) -> tuple[str | None, Content, str | None]:
    if not isinstance(file, tuple):
        return None, file, None
    if not 2 <= len(file) <= 4 or not isinstance(file[0], str | None):  # noqa: PLR2004 - httpx's own forms
        raise UsageError("file= as a tuple is (filename, content) or (filename, content, content_type)")
    filename, content, *rest = cast("tuple[str | None, Content, *tuple[Any, ...]]", file)
    return filename, content, (rest[0] if rest else None)


def _from_handle(given: Any) -> _Source:
    """A seekable handle from its start, wherever it stands, as the OpenAI SDK sends it."""
    handle = _synchronous(given)
    if isinstance(handle, io.TextIOBase):
        raise UsageError("file= was opened as text: open it with mode 'rb'")
    if getattr(handle, "closed", False) is True:
        raise UsageError("file= is closed: open it, and close it after the call")
    name = _name_of(given) or _name_of(handle)
    again = _can_rewind(handle)
    if inspect.iscoroutinefunction(handle.read):
        return lambda: _read_async(handle, from_start=again), None, again, name
    return lambda: _read(handle, from_start=again), _size(handle) if again else None, again, name


def _synchronous(handle: Any) -> Any:
    """The plain file inside an async one that shows it (Starlette's and FastAPI's `UploadFile`): read in threads."""
    inner: Any = getattr(handle, "file", None)
    if not inspect.iscoroutinefunction(handle.read) or not hasattr(inner, "read"):
        return handle
    return handle if inspect.iscoroutinefunction(inner.read) else inner


def _name_of(handle: Any) -> str | None:
    for attribute in ("filename", "name"):
        name: Any = getattr(handle, attribute, None)
        if isinstance(name, str | bytes) and name:
            return Path(os.fsdecode(name)).name or None
    return None


def _readable(filename: str) -> str:
    """Half a character, as names of files in archives may have, becomes `?`: no header can carry it."""
    return filename.encode("utf-8", "replace").decode()


def _can_rewind(handle: Any) -> bool:
    seekable = getattr(handle, "seekable", None)
    if seekable is None or inspect.iscoroutinefunction(seekable):
        return hasattr(handle, "seek")
    return bool(seekable())


def _size(handle: IO[bytes]) -> int | None:
    """Bytes from its start to its end; None where nothing but reading tells."""
    try:
        here = handle.tell()
        end = handle.seek(0, os.SEEK_END)
        handle.seek(here)
    except (OSError, ValueError, AttributeError):
        return None
    return end


async def _from_path(path: Path) -> AsyncIterator[bytes]:
    opening = asyncio.ensure_future(asyncio.to_thread(path.open, "rb"))
    try:
        handle = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise
    with handle:
        async for chunk in _read(handle, from_start=False):
            yield chunk


def _close(opened: "asyncio.Future[Any]") -> None:
    if opened.exception() is None:
        opened.result().close()


async def _read(handle: IO[bytes], *, from_start: bool) -> AsyncIterator[bytes]:
    if from_start:
        await asyncio.to_thread(handle.seek, 0)
    while chunk := await asyncio.to_thread(handle.read, CHUNK):
        yield _bytes(chunk)


async def _read_async(handle: Any, *, from_start: bool) -> AsyncIterator[bytes]:
    if from_start:
        await _where_it_was_made(handle.seek, 0)
    while chunk := await _where_it_was_made(handle.read, CHUNK):
        yield _bytes(chunk)


async def _from_bytes(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


async def _from_iterable(stream: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    end = object()
    if isinstance(stream, AsyncIterable):
        pieces = aiter(stream)
        while (piece := await _where_it_was_made(anext, pieces, end)) is not end:
            yield _bytes(piece)
        return
    iterator = iter(stream)
    while (piece := await asyncio.to_thread(_next_of, iterator, end)) is not end:
        yield _bytes(piece)


def _next_of(iterator: Iterator[bytes], end: object) -> object:
    return next(iterator, end)


async def _where_it_was_made(call: Callable[..., Awaitable[Result]], *arguments: Any) -> Result:
    """The call's result, from the caller's own loop where this runs on the engine's."""

    async def step() -> Result:
        return await call(*arguments)

    home = CALLERS_LOOP.get()
    if home is None or home is asyncio.get_running_loop():
        return await step()
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(step(), home))


def _bytes(piece: Any) -> bytes:
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, bytearray):
        return bytes(piece)
    if isinstance(piece, str):
        raise UsageError("file= gives text, not bytes: open it with mode 'rb', or encode it")
    raise UsageError(f"file= gives {type(piece).__name__}, not bytes")
