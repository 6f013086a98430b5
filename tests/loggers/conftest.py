"""One batch's three events, as the tracker records them, and an intake that answers as it is told."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, BatchTimes, Event, event_id
from batchmeter.hook_calls import Logger
from batchmeter.models import Attribution, Batch, Cost, LineCounts, ModelUsage, Usage
from batchmeter.plugins import Plugins

CREATED = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
ENDED = CREATED + timedelta(hours=1)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

USAGE = Usage(input_tokens=1_000_000, cached_input_tokens=200_000, output_tokens=300_000, reasoning_tokens=50_000)
MINI = ModelUsage(lines=900, usage=USAGE, cost=Decimal("0.1725"))
NANO = ModelUsage(lines=98, usage=Usage(input_tokens=10, output_tokens=5), cost=Decimal("0.0000015"))
MODELS = {"gpt-4o-mini-2024-07-18": MINI, "gpt-4.1-nano-2025-04-14": NANO}
COST = Cost(total=Decimal("0.1725015"), known=Decimal("0.1725015"), price_book="sha256:abc", priced_at=CREATED.date())
TIMES = BatchTimes(
    created_at=CREATED,
    in_progress_at=CREATED + timedelta(minutes=1),
    finalizing_at=ENDED - timedelta(minutes=2),
    ended_at=ENDED,
    expires_at=CREATED + timedelta(days=1),
    queue_seconds=60.0,
    run_seconds=3540.0,
    total_seconds=3600.0,
)


class Events:
    """Makes events; any field can be given another value."""

    def created(self, batch_id: str = "batch_abc123", **changes: Any) -> BatchCreated:
        fields = {
            **_shared(batch_id, "validating"),
            "id": event_id(changes.get("account", "openai"), batch_id, "acreate_batch"),
            **changes,
        }
        return BatchCreated(**{"time": CREATED + timedelta(seconds=1), **fields})

    def succeeded(self, batch_id: str = "batch_abc123", **changes: Any) -> BatchSucceeded:
        revision = changes.get("revision", 1)
        fields = {
            **_shared(batch_id, "completed"),
            **_outcome("completed"),
            "id": event_id(changes.get("account", "openai"), batch_id, "batch_success", revision),
            **changes,
        }
        return BatchSucceeded(**{"time": ENDED + timedelta(seconds=20), **fields})

    def failed(self, batch_id: str = "batch_abc123", status: str = "expired", **changes: Any) -> BatchFailed:
        fields = {
            **_shared(batch_id, status),
            **_outcome(status),
            "id": event_id(changes.get("account", "openai"), batch_id, "batch_failure"),
            **changes,
        }
        return BatchFailed(**{"time": ENDED + timedelta(seconds=20), **fields})


def _shared(batch_id: str, status: str) -> dict[str, Any]:
    batch = Batch(
        id=batch_id,
        status=status,
        endpoint="/v1/chat/completions",
        model="gpt-4o-mini",
        input_file_id="file-in",
        output_file_id=None if status == "validating" else "file-out",
        completion_window="24h",
        created_at=int(CREATED.timestamp()),
        metadata={"team": "search"},
    )
    return {
        "account": "openai",
        "provider": "openai",
        "batch_id": batch_id,
        "batch": batch,
        "endpoint": "/v1/chat/completions",
        "metadata": {"team": "search"},
        "attribution": Attribution(user="ada", team="search", session="nightly-7", tags=("nightly", "prod")),
        "traceparent": TRACEPARENT,
    }


def _outcome(status: str) -> dict[str, Any]:
    return {
        "status": status,
        "request_counts": LineCounts(total=1000, succeeded=998, failed=2),
        "usage": USAGE + NANO.usage,
        "cost": COST,
        "models": MODELS,
        "times": TIMES,
    }


@pytest.fixture
def events() -> Events:
    return Events()


@dataclass
class Enabled:
    """A logger as the deliverer calls it."""

    plugin: Any
    plugins: Plugins = field(default_factory=Plugins)

    def __post_init__(self) -> None:
        self.plugins.register(self.plugin, "it")

    @property
    def logger(self) -> Logger:
        return self.plugins.loggers["it"]

    async def deliver(self, event: Event) -> None:
        await self.logger.deliver(event)

    async def shutdown(self) -> None:
        await self.plugins.shutdown()


@pytest.fixture
async def enabled():
    """Takes a plugin; it is shut down when the test is over."""
    made: list[Enabled] = []

    def enable(plugin: object) -> Enabled:
        made.append(Enabled(plugin))
        return made[-1]

    yield enable
    for one in made:
        await one.shutdown()


@dataclass
class Request:
    """One request that the intake got, content-encoding undone."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """The intake's answer to the next request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Close the connection without an answer."""
    hang: float = 0.0
    """Seconds before the answer, unless the test ends earlier."""
    takes: bool = True
    """Whether the intake keeps what was sent, whatever it answers."""


class Intake(ThreadingHTTPServer):
    """A vendor's intake on the loopback: keeps what it gets, answers what it is told, then what is usual."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.kept: list[Request] = []
        self.usual = Answer()
        self.choose: Callable[[Request], Answer] = self._choose
        self.arrived = threading.Condition()
        self.over = threading.Event()

    def _choose(self, request: Request) -> Answer:
        return self.answers.pop(0) if self.answers else self.usual

    def wait_for(self, number: int, seconds: float = 60) -> None:
        """Until so many requests have arrived."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.requests) >= number, seconds), len(self.requests)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    server: Intake

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length", 0))
        body = self.rfile.read(size)
        if len(body) < size:  # the sender was killed
            self.close_connection = True
            return
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        answer = self.server.choose(request)
        with self.server.arrived:
            self.server.requests.append(request)
            self.server.arrived.notify_all()
        if answer.hang:
            self.server.over.wait(answer.hang)
        if answer.takes:
            self.server.kept.append(request)
        if answer.cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name, value in {"content-length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def intake() -> Iterator[Intake]:
    server = Intake()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def answer() -> type[Answer]:
    return Answer
