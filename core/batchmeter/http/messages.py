"""HTTP messages: request bodies that may stream, and answers, whole or still arriving, whose gzip is unpacked here.

httpx takes truncated gzip for whole.
"""

import json
import secrets
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchmeter import errors

if TYPE_CHECKING:
    import httpx


@dataclass(slots=True)
class Body:
    """A request body that streams; `open` gives a fresh pass over it for each try."""

    open: Callable[[], AsyncIterator[bytes]]
    content_type: str
    size: int | None = None
    replayable: bool = True


class BodyFailedError(Exception):
    """The body itself raised `cause` while it was sent; it reaches the caller unchanged."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause


class Pass:
    """One pass over a body; `failure` is what the body itself raised, however the transport dresses that up."""

    def __init__(self, body: Body) -> None:
        self.failure: Exception | None = None
        self.chunks = self._watched(body)

    async def _watched(self, body: Body) -> AsyncGenerator[bytes]:
        try:
            async with aclosing(exactly(body.open(), body.size)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except Exception as failure:
            self.failure = failure
            raise

    async def aclose(self) -> None:
        with suppress(RuntimeError):  # a transport that answers early may still be reading it, and closes it itself
            await self.chunks.aclose()


def as_json(body: object) -> bytes:
    """As short as can be; half a character, which has no UTF-8, goes out as its escape, as it came."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


async def exactly(chunks: AsyncIterator[bytes], size: int | None) -> AsyncGenerator[bytes]:
    """The same chunks; raises when they are not `size` bytes, before the receiver could take them for complete."""
    sent = 0
    try:
        async for chunk in chunks:
            sent += len(chunk)
            if size is not None and sent > size:
                raise _wrong_length(f"more than {size}", size)
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    if size is not None and sent < size:
        raise _wrong_length(str(sent), size)


def _wrong_length(sent: str, size: int) -> errors.UsageError:
    return errors.UsageError(
        f"the body came to {sent} bytes, but {size} were declared; did the file change while it was read?"
    )


def multipart(fields: Mapping[str, str], filename: str, content_type: str, body: Body) -> Body:
    """A form with one file, streamed; fields come first, as the SDKs send them."""
    boundary = secrets.token_hex(16)
    start, end = form_head(fields, filename, content_type, boundary), f"\r\n--{boundary}--\r\n".encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield start
        async with aclosing(exactly(body.open(), body.size)) as inner:
            async for chunk in inner:
                yield chunk
        yield end

    size = None if body.size is None else len(start) + body.size + len(end)
    return Body(chunks, f"multipart/form-data; boundary={boundary}", size, body.replayable)


def form_head(fields: Mapping[str, str], filename: str, content_type: str, boundary: str) -> bytes:
    """Everything of a form up to the file's first byte."""
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quote(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quote(filename)}"\r\n'
        f"Content-Type: {_line(content_type)}\r\n\r\n"
    )
    return head.encode()


def _quote(text: str) -> str:
    """HTML's rule for names in a form, which all servers read."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _line(text: str) -> str:
    return text.replace("\r", "").replace("\n", "")


Headers = Mapping[str, str]
"""Names in lower case."""


@dataclass(slots=True)
class Response:
    """A whole answer."""

    status_code: int
    headers: Headers
    content: bytes

    def json(self) -> Any:
        """The decoded body; APIResponseError when it is not JSON (a login page, a proxy's HTML)."""
        try:
            return json.loads(self.content)
        except RecursionError:
            raise errors.APIResponseError("expected JSON, got one that is nested too deeply to be read") from None
        except ValueError as error:
            kind = self.headers.get("content-type", "no content-type")
            raise errors.APIResponseError(
                f"expected JSON, got {kind}: {self.content[:120]!r}; is api_base the API's address?"
            ) from error


@dataclass(slots=True)
class StreamedResponse:
    """An answer whose body is still on its way."""

    status_code: int
    headers: Headers
    chunks: AsyncIterator[bytes]

    @property
    def size(self) -> int | None:
        """Bytes to come; None where nobody said, or where they travel compressed."""
        length = self.headers.get("content-length", "")
        return int(length) if length.isdecimal() and "content-encoding" not in self.headers else None


CHUNK = 64 * 1024
"""Bytes handed on at a time: as fast as larger ones, and never a noticeable block of the event loop."""
_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f"


def decompressed(response: "httpx.Response", where: str) -> AsyncIterator[bytes]:
    """The body as it was before it travelled; APIResponseError where its end is missing.

    Only gzip is asked for. Other encodings, and one inside another, are refused: httpx would unpack a few kilobytes of
    `gzip, gzip` into gigabytes at once.
    """
    if response.is_stream_consumed:  # an event hook of the caller's own client has read it
        return response.aiter_bytes(CHUNK)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return response.aiter_raw(CHUNK)
    if encoding in ("gzip", "x-gzip"):
        return gunzip(response.aiter_raw(CHUNK), where)
    raise errors.APIResponseError(f"{where} sent content-encoding {encoding[:40]!r}; batchmeter takes gzip or none")


async def gunzip(chunks: AsyncIterator[bytes], where: str) -> AsyncGenerator[bytes]:
    member = zlib.decompressobj(_GZIP)
    held = bytearray()
    begun = False
    async for chunk in chunks:
        rest = chunk
        while rest:
            if member.eof:
                if not rest.startswith(_MAGIC):
                    break  # padding
                member = zlib.decompressobj(_GZIP)
            begun = True
            for piece in _undone(member, rest, where):
                held += piece
                if len(held) >= CHUNK:
                    yield bytes(held[:CHUNK])
                    del held[:CHUNK]
            rest = member.unused_data
    if begun and not member.eof:
        raise errors.APIResponseError(f"{where} sent gzip that broke off before its end")
    if held:
        yield bytes(held)


def _undone(member: Any, packed: bytes, where: str) -> Generator[bytes]:
    while True:
        try:
            piece: bytes = member.decompress(packed, CHUNK)
        except zlib.error as error:
            raise errors.APIResponseError(f"{where} sent what it called gzip and is not: {error}") from error
        packed = member.unconsumed_tail
        if piece:
            yield piece
        if member.eof or (not packed and len(piece) < CHUNK):
            return
