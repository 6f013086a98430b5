"""An answer's body, read before the app reads it, and given to the app byte for byte as it came.

`response.read()` would do for whoever calls `response.content`, but raw streaming (`iter_raw`) and an error in the
middle of a body would reach the app changed. So the undecoded chunks are taken, and put back as a new stream.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any


def take(response: Any) -> bytes:
    """The decoded body of a sync client's answer; what broke while it was read is raised to the app, in its turn."""
    if _is_read(response):
        return bytes(response.content)
    source, taken = response.stream, _Taken()
    try:
        taken.chunks.extend(source)
    except Exception as error:  # noqa: BLE001 - the app's to see, when it gets there
        taken.error = error
    finally:
        source.close()
    response.stream = _replay(source, taken)
    return _decoded(response, taken)


async def atake(response: Any) -> bytes:
    """As `take`, of an async client's answer."""
    if _is_read(response):
        return bytes(response.content)
    source, taken = response.stream, _Taken()
    try:
        async for chunk in source:
            taken.chunks.append(chunk)
    except Exception as error:  # noqa: BLE001 - as above
        taken.error = error
    finally:
        await source.aclose()
    response.stream = _replay(source, taken)
    return _decoded(response, taken)


class _Taken:
    """What came, and how it ended."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.error: Exception | None = None


def _is_read(response: Any) -> bool:
    """By an earlier hook, or by a transport that answers from memory."""
    return bool(response.is_stream_consumed or response.is_closed)


def _decoded(response: Any, taken: _Taken) -> bytes:
    """Content-encoding undone, by the library's own decoders; nothing of a body that broke off."""
    if taken.error is not None:
        return b""
    raw = b"".join(taken.chunks)
    return bytes(response.__class__(response.status_code, headers=response.headers, content=raw).content)


def _replay(source: Any, taken: _Taken) -> Any:
    """A stream of the library's own kind (httpx's or httpx2's, sync or async), as its response insists."""
    kinds = [kind for kind in type(source).__mro__ if kind.__name__ in ("SyncByteStream", "AsyncByteStream")]
    return type("Replay", (_Replay, *kinds), {})(source, taken)


class _Replay:
    """The chunks that were taken, then what broke, if anything did."""

    def __init__(self, source: Any, taken: _Taken) -> None:
        self._source = source
        self._taken = taken

    @property
    def elapsed(self) -> Any:
        """Where httpx2's response looks for its own."""
        return self._source.elapsed

    def __iter__(self) -> Iterator[bytes]:
        yield from self._taken.chunks
        if self._taken.error is not None:
            raise self._taken.error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._taken.chunks:
            yield chunk
        if self._taken.error is not None:
            raise self._taken.error

    def close(self) -> None:
        """The source is closed already."""

    async def aclose(self) -> None:
        """As `close`."""
