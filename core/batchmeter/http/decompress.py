"""Content-encoding of an answer's body; gzip is unpacked here, because httpx takes a truncated one for whole."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from typing import TYPE_CHECKING, Any

from batchmeter import errors

if TYPE_CHECKING:
    import httpx

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
