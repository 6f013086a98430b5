"""A downloaded file: held in memory, with the reading methods of the OpenAI SDK's binary response."""

import asyncio
import codecs
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batchmeter.errors import ClosedError, UsageError
from batchmeter.providers import ContentStream

if TYPE_CHECKING:
    import httpx

CHUNK_SIZE = 1024 * 1024
"""Bytes that iterating gives at a time, as LiteLLM does."""


class FileContent:
    """The content that `file_content` returns. For files that need not fit in memory, use `client.files.stream`."""

    def __init__(
        self,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        headers: Mapping[str, str] | None = None,
        status_code: int = 200,
    ) -> None:
        self._content = content
        self.content_type = content_type
        self.headers: Mapping[str, str] = {"content-type": content_type, **(headers or {})}
        self.status_code = status_code

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} bytes, {self.content_type})"

    def __len__(self) -> int:
        return len(self.content)

    @property
    def content(self) -> bytes:
        return self._content

    @property
    def response(self) -> "httpx.Response":
        """The answer as httpx would hold it: status, headers and the decoded bytes."""
        import httpx  # noqa: PLC0415 - `import batchmeter` stays light

        of_the_wire = ("content-encoding", "content-length", "transfer-encoding")
        headers = {name: text for name, text in self.headers.items() if name.lower() not in of_the_wire}
        return httpx.Response(self.status_code, headers=headers, content=self.content)

    @property
    def charset_encoding(self) -> str | None:
        """The charset that the content type names; None where it names none that is known."""
        named = self.content_type.lower().partition("charset=")[2].partition(";")[0].strip("\"' ")
        try:
            return codecs.lookup(named).name if named else None
        except LookupError:
            return None

    @property
    def encoding(self) -> str:
        return self.charset_encoding or "utf-8"

    @property
    def text(self) -> str:
        """Undecodable bytes replaced."""
        return self.content.decode(self.encoding, "replace")

    def json(self) -> Any:
        """The content, parsed."""
        return json.loads(self.content)

    def read(self) -> bytes:
        """The content."""
        return self.content

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The content in pieces of `chunk_size` bytes."""
        size = chunk_size or CHUNK_SIZE
        for start in range(0, len(self.content), size):
            yield self.content[start : start + size]

    iter_raw = iter_bytes
    """The bytes are decoded already."""

    def iter_text(self, chunk_size: int | None = None) -> Iterator[str]:
        """The same, decoded."""
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        for chunk in self.iter_bytes(chunk_size):
            if text := decoder.decode(chunk):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def iter_lines(self) -> Iterator[str]:
        r"""Lines split on `\n` only: U+2028 inside a JSON string is not a line's end."""
        for line in self.content.split(b"\n"):
            if line:
                yield line.removesuffix(b"\r").decode(self.encoding, "replace")

    def __iter__(self) -> Iterator[bytes]:
        return self.iter_bytes()

    def write_to_file(self, file: str | Path) -> None:
        """Write all of it."""
        Path(file).write_bytes(self.content)

    def stream_to_file(self, file: str | Path, *, chunk_size: int | None = None) -> None:
        """As `write_to_file`."""
        del chunk_size
        self.write_to_file(file)

    def close(self) -> None:
        """There is nothing open."""

    async def aread(self) -> bytes:
        """As `read`."""
        return self.content

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """As `iter_bytes`."""
        for chunk in self.iter_bytes(chunk_size):
            yield chunk

    aiter_raw = aiter_bytes

    async def aiter_text(self, chunk_size: int | None = None) -> AsyncIterator[str]:
        """As `iter_text`."""
        for text in self.iter_text(chunk_size):
            yield text

    async def aiter_lines(self) -> AsyncIterator[str]:
        """As `iter_lines`."""
        for line in self.iter_lines():
            yield line

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.aiter_bytes()

    async def astream_to_file(self, file: str | Path, *, chunk_size: int | None = None) -> None:
        """As `write_to_file`, in a thread."""
        del chunk_size
        await asyncio.to_thread(self.write_to_file, file)

    async def aclose(self) -> None:
        """As `close`."""


Run = Callable[[Callable[[], Awaitable[Any]]], Any]
"""Runs an async call on the loop where the stream was opened."""


class StreamedContent(FileContent):
    """`stream=True`: the bytes as they arrive, once. `async for`, or `for` in code without a loop; then it is closed."""

    def __init__(
        self, opened: AbstractAsyncContextManager[ContentStream], stream: ContentStream, chunk_size: int
    ) -> None:
        super().__init__(b"", content_type=stream.content_type, headers=stream.headers, status_code=stream.status_code)
        self._opened: AbstractAsyncContextManager[ContentStream] | None = opened
        self._stream = stream
        self._chunk_size = chunk_size
        self._held = bytearray()
        self._run: Run | None = None
        self._arun: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]] | None = None

    @classmethod
    async def open(cls, opened: AbstractAsyncContextManager[ContentStream], chunk_size: int) -> Self:
        """Raises what the provider answers, before the first byte."""
        if chunk_size < 1:
            raise UsageError(f"chunk_size must be above 0, not {chunk_size}")
        return cls(opened, await opened.__aenter__(), chunk_size)

    def on(self, run: Run | None, arun: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]] | None) -> None:
        """Read from another thread, or from another loop."""
        self._run, self._arun = run, arun

    def __len__(self) -> int:
        raise UsageError("a streamed file has no length before it is read")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.content_type})"

    @property
    def content(self) -> bytes:
        raise UsageError("this file is streamed: iterate over it, or ask without stream=True")

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        step = partial(self._next, chunk_size or self._chunk_size)
        try:
            while chunk := await (self._arun(step) if self._arun else step()):
                yield chunk
        finally:
            await self.aclose()

    aiter_raw = aiter_bytes

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        if self._run is None:
            raise UsageError("this file is streamed by an async call: use `async for`")
        step = partial(self._next, chunk_size or self._chunk_size)
        try:
            while chunk := self._run(step):
                yield chunk
        finally:
            self.close()

    iter_raw = iter_bytes

    async def aclose(self) -> None:
        with suppress(ClosedError):  # closed with its client
            await (self._arun(self._end) if self._arun else self._end())

    def close(self) -> None:
        if self._run is not None:
            with suppress(ClosedError):
                self._run(self._end)

    async def _next(self, size: int) -> bytes:
        """So many bytes; fewer at the end, none behind it."""
        while self._opened is not None and len(self._held) < size:
            chunk = await anext(self._stream.chunks, None)
            if chunk is None:
                break
            self._held += chunk
        piece = bytes(self._held[:size])
        del self._held[:size]
        return piece

    async def _end(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.__aexit__(None, None, None)
