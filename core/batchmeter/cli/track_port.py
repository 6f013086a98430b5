"""The port of `batchmeter track --metrics-port`: whether the tracker is well, and Prometheus' metrics of its ledger."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from batchmeter.errors import BatchmeterError

if TYPE_CHECKING:
    from batchmeter.faces.client import AsyncClient

WELL_SECONDS = 120.0
"""A tracker that ended no round for so long is not well: its longest sleep is ten seconds."""
_LONGEST_REQUEST = 8192
_PATIENCE_SECONDS = 10.0
_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Samples = Iterable[tuple[Mapping[str, str], float]]


@asynccontextmanager
async def health_port(opened: "AsyncClient", host: str, port: int) -> AsyncGenerator[int]:
    """The port that it listens on. OSError where it cannot."""
    server = await asyncio.start_server(lambda reader, writer: _answer(opened, reader, writer), host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def _answer(opened: "AsyncClient", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request a connection."""
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, text = await _page(opened, head[:_LONGEST_REQUEST].split(b" ")[:2])
                body = text.encode()
                lines = [
                    f"HTTP/1.1 {status}",
                    f"content-type: {_TYPE}",
                    f"content-length: {len(body)}",
                    "connection: close",
                ]
                writer.write("\r\n".join([*lines, "", ""]).encode() + body)
                await writer.drain()
        finally:
            writer.close()


async def _page(opened: "AsyncClient", request: list[bytes]) -> tuple[str, str]:
    if request == [b"GET", b"/metrics"]:
        return "200 OK", await metrics_text(opened)
    if request == [b"GET", b"/health"]:
        beat = opened.tracker.heartbeat
        if beat is not None and time.time() - beat < WELL_SECONDS:
            return "200 OK", "ok\n"
        return "503 Service Unavailable", "no round was ended lately\n"
    return "404 Not Found", "there are /health and /metrics\n"


async def metrics_text(opened: "AsyncClient") -> str:
    """In Prometheus' text format, by account and by logger: the same from whichever process of a ledger."""
    from batchmeter.access import Access

    beat = opened.tracker.heartbeat
    found = _family(
        "tracker_heartbeat_timestamp_seconds", "When this tracker last ended a round.", [({}, beat)] if beat else []
    )
    try:
        accounts, gauges, now = (
            await Access(opened.ledger).following(),
            await opened.ledger.gauges(),
            opened.ledger.now(),
        )
    except BatchmeterError:
        return found + _family("ledger_up", "Whether the ledger answers.", [({}, 0)])
    found += _family("ledger_up", "Whether the ledger answers.", [({}, 1)])
    for name, text, values in (
        (
            "batches_overdue",
            "Open batches that are due for a look, and held by no tracker.",
            {a.account: a.overdue for a in accounts},
        ),
        ("batches_failing", "Open batches whose last look failed.", {a.account: a.failing for a in accounts}),
        (
            "batches_oldest_open_seconds",
            "Age of the oldest open batch.",
            {a.account: (now - a.oldest_at) / 1000 for a in accounts},
        ),
    ):
        found += _family(name, text, [({"account": account}, value) for account, value in values.items()])
    for name, text, counts in (
        ("deliveries_pending", "Deliveries that are pending.", {g.logger: g.pending for g in gauges}),
        ("deliveries_dead", "Deliveries that are dead.", {g.logger: g.dead for g in gauges}),
    ):
        found += _family(name, text, [({"logger": logger}, value) for logger, value in counts.items()])
    return found


def _family(name: str, text: str, samples: Samples) -> str:
    lines = [f"# HELP batchmeter_{name} {text}", f"# TYPE batchmeter_{name} gauge"]
    for labels, value in samples:
        inside = ",".join(f'{label}="{_escaped(word)}"' for label, word in labels.items())
        lines.append(f"batchmeter_{name}{{{inside}}} {float(value)}" if inside else f"batchmeter_{name} {float(value)}")
    return "\n".join(lines) + "\n"


def _escaped(word: str) -> str:
    return word.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
