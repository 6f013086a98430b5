"""An exchange about batches: its kind and its request; its body and batches, off the answer.

The app gets the body byte for byte as it came. `response.read()` would do for whoever calls `response.content`, but raw
streaming (`iter_raw`) and an error in the middle of a body would reach the app changed. So the undecoded chunks are
taken, and put back as a new stream.
"""

import logging
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, cast

from pydantic import ValidationError

from batchmeter.http import USER_AGENT
from batchmeter.models import Batch
from batchmeter.providers import ObservedKind, ObservedRequest, ObservedWire

log = logging.getLogger("batchmeter")

GROUP = "batchmeter.observed"
Kind = ObservedKind
_PATH = re.compile(r"^(?P<base>.*)/batches(?:/(?P<id>[^/]+)(?P<cancel>/cancel)?)?/?$")
MOST_BYTES = 32 * 1024 * 1024
"""A longer answer is not about batches, or not one to hold in memory."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request about batches that its provider accepted."""

    kind: Kind
    request: ObservedRequest
    wire: ObservedWire | None = None
    """Of a vendor whose words are not OpenAI's."""


@cache
def wires() -> tuple[ObservedWire, ...]:
    """Wires that providers declare; one that cannot be imported is logged and left out."""
    found: list[ObservedWire] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            wire: object = entry.load()
        except Exception as error:  # noqa: BLE001 - whatever a plugin does at import, others are observed
            log.warning("clients of %s are not observed: %s", entry.name, error)
            continue
        if isinstance(wire, ObservedWire):
            found.append(wire)
    return tuple(found)


def exchange_of(response: Any) -> Exchange | None:
    """None for everything that is to be left alone. The answer's body is not touched."""
    request = response.request
    if not 200 <= response.status_code < 300:  # noqa: PLR2004 - HTTP's own line
        return None
    found = _of_a_vendor(request) or _of_openai(request)
    length = response.headers.get("content-length", "")
    if found is None or (length.isdecimal() and int(length) > MOST_BYTES):
        return None
    # Our own request, on a client that is lent to an account; or answered by our proxy, which meters it itself.
    if request.headers.get("user-agent") == USER_AGENT or "x-batchmeter" in response.headers:
        return None
    return found


def _of_a_vendor(request: Any) -> Exchange | None:
    path = request.url.path
    for wire in wires():
        if wire.header not in request.headers:
            continue
        for kind, (method, pattern) in wire.requests.items():
            match = pattern.fullmatch(path) if request.method == method else None
            if match is not None:
                address = request.url.copy_with(path=match["base"] or "/", query=None, fragment=None, userinfo=b"")
                return Exchange(kind, _observed(request, str(address).rstrip("/")), wire)
    return None


def _of_openai(request: Any) -> Exchange | None:
    found = _PATH.match(request.url.path)
    if found is None:
        return None
    kind = _kind(request.method, has_id=found["id"] is not None, cancel=found["cancel"] is not None)
    # The path as it was sent, up to its last `/batches`: an id may hold anything.
    base = str(request.url.copy_with(query=None, fragment=None, userinfo=b"")).rpartition("/batches")[0]
    return None if kind is None else Exchange(kind, _observed(request, base))


def _kind(method: str, *, has_id: bool, cancel: bool) -> Kind | None:
    kinds: dict[tuple[str, bool, bool], Kind] = {
        ("POST", False, False): "create",
        ("GET", True, False): "look",
        ("POST", True, True): "look",
        ("GET", False, False): "list",
    }
    return kinds.get((method, has_id, cancel))


def _observed(request: Any, base: str) -> ObservedRequest:
    headers = {name.lower(): text for name, text in request.headers.items()}
    return ObservedRequest(request.url.host, base, dict(request.url.params), headers)


def take(response: Any) -> bytes:
    """The decoded body of a sync client's answer; what broke while it was read is raised to the app, in its turn."""
    if _is_read(response):
        return bytes(response.content)
    source, body = response.stream, _Body()
    try:
        body.chunks.extend(source)
    except Exception as error:  # noqa: BLE001 - the app's to see, when it gets there
        body.error = error
    finally:
        source.close()
    response.stream = _replay(source, body)
    return _decoded(response, body)


async def atake(response: Any) -> bytes:
    """As `take`, of an async client's answer."""
    if _is_read(response):
        return bytes(response.content)
    source, body = response.stream, _Body()
    try:
        async for chunk in source:
            body.chunks.append(chunk)
    except Exception as error:  # noqa: BLE001 - as above
        body.error = error
    finally:
        await source.aclose()
    response.stream = _replay(source, body)
    return _decoded(response, body)


class _Body:
    """Chunks that came, and the error that ended them."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.error: Exception | None = None


def _is_read(response: Any) -> bool:
    """By an earlier hook, or by a transport that answers from memory."""
    return bool(response.is_stream_consumed or response.is_closed)


def _decoded(response: Any, body: _Body) -> bytes:
    """Content-encoding undone, by the library's own decoders; nothing of a body that broke off."""
    if body.error is not None:
        return b""
    raw = b"".join(body.chunks)
    return bytes(response.__class__(response.status_code, headers=response.headers, content=raw).content)


def _replay(source: Any, body: _Body) -> Any:
    """A stream of the library's own kind (httpx's or httpx2's, sync or async), as its response insists."""
    kinds = [kind for kind in type(source).__mro__ if kind.__name__ in ("SyncByteStream", "AsyncByteStream")]
    return type("Replay", (_Replay, *kinds), {})(source, body)


class _Replay:
    """The chunks that were taken, then what broke, if anything did."""

    def __init__(self, source: Any, body: _Body) -> None:
        self._source = source
        self._body = body

    @property
    def elapsed(self) -> Any:
        """Where httpx2's response looks for its own."""
        return self._source.elapsed

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body.chunks
        if self._body.error is not None:
            raise self._body.error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._body.chunks:
            yield chunk
        if self._body.error is not None:
            raise self._body.error

    def close(self) -> None:
        """The source is closed already."""

    async def aclose(self) -> None:
        """As `close`."""


def batches_in(answer: object, kind: Kind, wire: ObservedWire | None = None) -> list[Batch]:
    """Other APIs have a `/batches` too: what is not OpenAI's batch object is left out."""
    if wire is not None:
        return [batch for batch in wire.batches(answer, kind) if batch.id]
    if kind != "list":
        return [batch for batch in (_batch(answer),) if batch is not None]
    rows: Any = cast("dict[str, Any]", answer).get("data") if isinstance(answer, dict) else answer
    return [batch for row in rows or () if (batch := _batch(row)) is not None]


def _batch(row: object) -> Batch | None:
    if not isinstance(row, dict):
        return None
    body = dict(cast("dict[str, Any]", row))
    if body.get("object", "batch") != "batch" or not {"id", "status"} <= set(body):
        return None
    if "object" not in body and "endpoint" not in body:
        return None
    return _read(body)


def _read(body: dict[str, Any]) -> Batch | None:
    """An optional field in a shape nobody has seen yet is dropped rather than the batch."""
    try:
        return Batch.model_validate(body)
    except ValidationError as error:
        odd = {str(problem["loc"][0]) for problem in error.errors()}
        if odd & {"id", "status"}:
            return None
        return Batch.model_validate({name: value for name, value in body.items() if name not in odd})
