"""HTTP answers: a whole one, and one with a body that still arrives, unpacked here.

httpx takes truncated gzip for whole.
"""

import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchmeter import errors

if TYPE_CHECKING:
    import httpx

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


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """One answer below 400."""

    method: str
    status_code: int
    headers: Headers
    """Names in lower case."""


_notes: ContextVar[list[AnswerHead] | None] = ContextVar("batchmeter_answers", default=None)


@contextmanager
def noted_answers() -> Generator[list[AnswerHead]]:
    """The answers that calls inside get, in order; also in tasks that start inside."""
    heads: list[AnswerHead] = []
    token = _notes.set(heads)
    try:
        yield heads
    finally:
        _notes.reset(token)


def note(method: str, status_code: int, headers: Iterable[tuple[str, str]]) -> None:
    heads = _notes.get()
    if heads is not None:
        heads.append(AnswerHead(method, status_code, {name.lower(): text for name, text in headers}))


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
