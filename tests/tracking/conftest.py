"""A provider that does exactly what a test scripts, a clock that a test moves, and loggers that misbehave on demand."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from batchmeter.accounts import Accounts
from batchmeter.config import Settings
from batchmeter.errors import InternalServerError, NotFoundError, RateLimitError
from batchmeter.events import AnyEvent
from batchmeter.hookspecs import hookimpl
from batchmeter.ledger import open_ledger
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Submission
from batchmeter.models import Batch, FileDeleted, FileObject, Page
from batchmeter.plugins import Plugins
from batchmeter.pricebook.book import PriceBook
from batchmeter.providers import BatchRequest, CallOptions, Capabilities, ContentStream, FileUpload, OutputFile
from batchmeter.tracker.build_events import created_event
from batchmeter.tracker.deliver import Deliverer
from batchmeter.tracker.delivery_lane import LaneOptions
from batchmeter.tracker.tracker import Tracker
from batchmeter.web import note

T0 = 1_790_000_000
"""Epoch seconds at which the tests' clock starts: a day in September 2026."""


class Clock:
    """Milliseconds that move only when told to, or when somebody sleeps."""

    def __init__(self) -> None:
        self.now = T0 * 1000
        self.slept: list[float] = []

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)


def line(custom_id: str, prompt: int = 1000, completion: int = 100, model: str = "gpt-4o-mini") -> bytes:
    """One successful output line."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    body = {"model": model, "usage": usage}
    answer = {"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}
    return json.dumps(answer).encode() + b"\n"


def error_line(custom_id: str, code: str = "batch_cancelled") -> bytes:
    return json.dumps({"custom_id": custom_id, "response": None, "error": {"code": code}}).encode() + b"\n"


def batch(batch_id: str = "batch_1", status: str = "completed", **fields: Any) -> Batch:
    """A batch as OpenAI shows it; a completed one has two lines in `out`."""
    plain: dict[str, Any] = {"id": batch_id}
    plain |= {name: fields.pop(name) for name, kind in _PLAIN.items() if type(fields.get(name)) is kind}
    kind = f"{status} {fields!r}"
    if kind not in _KINDS:
        _KINDS[kind] = _validated(status, fields)
    return _KINDS[kind].model_copy(update=plain)


_PLAIN = {"created_at": int, "input_file_id": str}
_KINDS: dict[str, Batch] = {}
"""One of each kind: lists of thousands differ in their ids and times, and need not be validated one by one."""


def _validated(status: str, fields: dict[str, Any]) -> Batch:
    values: dict[str, Any] = {
        "id": "batch_1",
        "endpoint": "/v1/chat/completions",
        "status": status,
        "input_file_id": "in",
        "created_at": T0,
        "expires_at": T0 + 86400,
        "metadata": {"team": "search"},
    }
    if status == "completed":
        values |= {
            "in_progress_at": T0 + 10,
            "completed_at": T0 + 100,
            "output_file_id": "out",
            "request_counts": {"total": 2, "completed": 2, "failed": 0},
        }
    return Batch.model_validate(values | fields)


Answer = Batch | Exception
Content = bytes | Exception | tuple[bytes, int]
"""Bytes; what opening raises; or bytes with another announced size."""


class Scripted:
    """A provider. `batches[id]` and `files[id]` are answers in turn, the last one for good."""

    name: ClassVar[str] = "openai"
    capabilities: ClassVar[Capabilities] = Capabilities(list_after_any_id=False)

    def __init__(self, account: str = "openai") -> None:
        self.account = account
        self.region: str | None = None
        self.endpoint = "http://scripted"
        self.batches: dict[str, list[Answer]] = {}
        self.files: dict[str, list[Content]] = {}
        self.listing: list[Batch] | Exception = []
        self.calls: list[tuple[str, str | None]] = []
        self.before_content: Callable[[], Any] | None = None
        self.date: Callable[[], str | None] = lambda: None
        """The header `Date` of its lists."""

    def count(self, kind: str) -> int:
        return sum(name == kind for name, _ in self.calls)

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        self.calls.append(("retrieve", batch_id))
        answer = _next(self.batches.get(batch_id, [NotFoundError(f"no {batch_id}", status_code=404)]))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        self.calls.append(("list", after))
        if (date := self.date()) is not None:
            note("GET", 200, [("Date", date)])
        if isinstance(self.listing, Exception):
            raise self.listing
        ids = [item.id for item in self.listing]
        start = 0 if after is None else ids.index(after) + 1
        data = self.listing[start : start + (limit or 20)]
        return Page[Batch](data=data, has_more=start + len(data) < len(ids), last_id=data[-1].id if data else None)

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        kinds = {"output": batch.output_file_id, "error": batch.error_file_id}
        return [OutputFile(name, kind, self._opener(name)) for kind, name in kinds.items() if name]  # type: ignore[arg-type]

    def _opener(self, name: str) -> Callable[[], AbstractAsyncContextManager[ContentStream]]:
        return lambda: self.file_content(name, CallOptions())

    @asynccontextmanager
    async def file_content(self, file_id: str, options: CallOptions) -> AsyncIterator[ContentStream]:
        self.calls.append(("content", file_id))
        if self.before_content is not None:
            await self.before_content()
        content = _next(self.files.get(file_id, [NotFoundError(f"no {file_id}", status_code=404)]))
        if isinstance(content, Exception):
            raise content
        data, size = content if isinstance(content, tuple) else (content, len(content))
        yield ContentStream(_chunks(data), size=size)

    def price_model(self, model: str) -> str:
        return model

    async def aclose(self) -> None: ...

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        raise NotImplementedError

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject:
        raise NotImplementedError

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]:
        raise NotImplementedError

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted:
        raise NotImplementedError

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        raise NotImplementedError

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        raise NotImplementedError


def _next(answers: list[Any]) -> Any:
    return answers.pop(0) if len(answers) > 1 else answers[0]


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 50):
        yield data[start : start + 50]


def rate_limited(after: float) -> RateLimitError:
    return RateLimitError("slow down", status_code=429, headers={"retry-after": str(after)})


def broken() -> InternalServerError:
    return InternalServerError("oh no", status_code=500)


class Keeper:
    """A logger that keeps what it accepted; `trouble` is raised (or awaited) first, in turn."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.tries = 0
        self.trouble: list[Any] = []
        self._news = asyncio.Condition()

    async def has(self, count: int) -> None:
        """Returns when so many events have come."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.events) >= count)

    async def _take(self, event: AnyEvent) -> None:
        self.tries += 1
        trouble = self.trouble.pop(0) if self.trouble else None
        if isinstance(trouble, BaseException):
            raise trouble
        if trouble is not None:
            await trouble()
        async with self._news:
            self.events.append(event)
            self._news.notify_all()

    @hookimpl
    async def acreate_batch(self, event: AnyEvent) -> None:
        await self._take(event)

    @hookimpl
    async def batch_success(self, event: AnyEvent) -> None:
        await self._take(event)

    @hookimpl
    async def batch_failure(self, event: AnyEvent) -> None:
        await self._take(event)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


@dataclass
class World:
    """A ledger, accounts, loggers and a clock; trackers and deliverers are made over them."""

    ledger: Ledger
    clock: Clock
    plugins: Plugins = field(default_factory=Plugins)
    accounts: Accounts = field(init=False)
    prices: PriceBook = field(default_factory=lambda: PRICES)
    _names: Any = field(default_factory=lambda: itertools.count(1))
    batch = staticmethod(batch)
    line = staticmethod(line)
    error_line = staticmethod(error_line)
    rate_limited = staticmethod(rate_limited)
    broken = staticmethod(broken)

    def __post_init__(self) -> None:
        self.accounts = Accounts(Settings(), self.plugins)

    def provider(self, account: str = "openai") -> Scripted:
        provider = Scripted(account)
        provider.files["out"] = [line("a") + line("b")]
        self.accounts.add(provider)
        return provider

    def logger(self, name: str = "keeper") -> Keeper:
        keeper = Keeper()
        self.plugins.register(keeper, name)
        return keeper

    def tracker(self, **given: Any) -> Tracker:
        given = {"random": lambda: 0.5, "sleep": self.clock.sleep, "owner": f"tracker-{next(self._names)}"} | given
        return Tracker(self.ledger, self.accounts, self.plugins, self.prices, **given)

    def deliverer(self, **options: Any) -> Deliverer:
        owner = f"deliverer-{next(self._names)}"
        return Deliverer(
            self.ledger,
            self.plugins,
            owner=owner,
            options=LaneOptions(**options),
            random=lambda: 0.5,
            sleep=self.clock.sleep,
        )

    async def submitted(self, batch_id: str = "batch_1", account: str = "openai", **fields: Any) -> Batch:
        """A batch in the ledger, due now."""
        made = batch(batch_id, "validating", **fields)
        submission = Submission(account, "openai", made.endpoint, input_file_id="in", metadata={"team": "search"})
        event = created_event(submission, made, time=self.clock.now)
        await self.ledger.subscribe(self.plugins.subscriptions)
        await self.ledger.record_created(submission, made, event, next_poll_at=self.clock.now)
        return made

    async def endings(self) -> list[AnyEvent]:
        stored = await self.ledger.events(types=["batch_success", "batch_failure"])
        return [one.event for one in stored]

    async def until_settled(self, tracker: Tracker, batch_id: str = "batch_1", *, most: int = 400) -> AnyEvent:
        """Passes of the tracker, the clock moved to the next due moment between them."""
        for _ in range(most):
            summary = await tracker.once()
            due = await self.ledger.next_due_at()
            if (summary.settled or due is None) and await self.ledger.settlement(batch_id) is not None:
                (ending,) = [event for event in await self.endings() if event.batch_id == batch_id]
                return ending
            assert due is not None
            self.clock.now = max(self.clock.now + 1, due)
        raise AssertionError(f"{batch_id} was not settled in {most} passes")


PRICES = PriceBook()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def world(clock: Clock) -> AsyncIterator[World]:
    ledger = open_ledger(":memory:", clock=clock)
    await ledger.open()
    yield World(ledger, clock)
    await ledger.aclose()
