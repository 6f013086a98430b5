"""A bench for plugins: real batches through the sandbox, delivered when told to, in an instant of the clock's own time."""

import itertools
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from batchmeter.config import Settings
from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, Settlement
from batchmeter.faces.client import AsyncClient
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import Delivery
from batchmeter.models import Attribution
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.tracker.deliver import Deliverer
from batchmeter.tracker.delivery_lane import LaneOptions

from .recorder import Recorder
from .requests import lines_of

__all__ = ["BatchRun", "Bench", "open_bench", "run_batch"]

ACCOUNT = "sandbox"
ENDPOINT = "/v1/chat/completions"
_RECORDER = "recorder"
_seeds = itertools.count(1)
"""One a bench: no two benches of a process share batch ids, which the sandbox makes from its seed."""
_SPEED = 1_000_000.0
"""Of the sandbox's clock: a batch takes 1.4 ms."""
_PASSES = 300
"""More than any event's tries."""


@dataclass(slots=True)
class _Clock:
    """Milliseconds; goes with the machine's, and jumps over the waits between tries."""

    ahead: int = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead

    def reach(self, moment: int) -> None:
        self.ahead += max(moment - self(), 0)


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One batch's outcome, and the events that the plugins saw."""

    settlement: Settlement
    events: tuple[BatchCreated | BatchSucceeded | BatchFailed, ...]
    """In order, as loggers got them: after `redact`."""
    deliveries: tuple[Delivery, ...]
    """One for each event and logger under test: `logger`, `state`, `attempts`, `last_error`."""

    @property
    def created(self) -> BatchCreated:
        (found,) = [event for event in self.events if isinstance(event, BatchCreated)]
        return found

    @property
    def ending(self) -> BatchSucceeded | BatchFailed:
        (found,) = [event for event in self.events if not isinstance(event, BatchCreated)]
        return found

    def assert_delivered(self) -> None:
        """Every logger accepted every event that it has a hook for."""
        assert self.deliveries, "no logger is under test"
        left = [
            f"{delivery.logger}: {delivery.stored.event.type} is {delivery.state}: {delivery.last_error}"
            for delivery in self.deliveries
            if delivery.state != "delivered"
        ]
        assert not left, "; ".join(left)


@dataclass
class Bench:
    """An open client with an in-process sandbox, a ledger in memory, and the plugins under test."""

    client: AsyncClient
    recorder: Recorder
    deliverer: Deliverer
    _clock: _Clock = field(repr=False)

    async def run(self, **batch: Any) -> BatchRun:
        """One batch from upload to the last delivery; arguments as `submit`."""
        settlement = await self.submit(**batch)
        await self.deliver()
        return await self.look(settlement)

    async def submit(
        self,
        *,
        requests: int = 3,
        model: str = "gpt-5-mini",
        script: str = "",
        metadata: Mapping[str, str] | None = None,
        attribution: Attribution | Mapping[str, Any] | None = None,
        adopted: bool = False,
    ) -> Settlement:
        """One batch until it is settled; its events wait for `deliver`.

        `script` is its fate: `fail=0.5`, `outcome=expired done=0.4`, `no_usage=1`, … (`batchmeter sandbox --help`).
        An `adopted` one is submitted behind batchmeter's back.
        """
        file = await self.client.files.create(file=("input.jsonl", lines_of(requests, model)), purpose="batch")
        options = CallOptions(extra_headers={"x-sandbox-script": script} if script else {})
        if adopted:
            provider = self.client.accounts.get(ACCOUNT)
            made = await provider.create_batch(BatchRequest(file.id, ENDPOINT, metadata=metadata), options)
        else:
            made = await self.client.batches.create(
                input_file_id=file.id,
                endpoint=ENDPOINT,
                metadata=metadata,
                attribution=attribution,
                extra_headers=options.extra_headers,
            )
        return await self.client.batches.wait(made.id, timeout=60)

    async def deliver(self, *, passes: int = _PASSES) -> None:
        """Until nothing is pending, or `passes` times; the clock jumps over the waits between tries."""
        for _ in range(passes):
            assert await self.deliverer.drain(60), "a logger was not done in 60 s"
            due = await self.client.ledger.next_delivery_at(list(self.client.plugins.loggers))
            if due is None:
                return
            self._clock.reach(due)

    async def replay(self) -> None:
        """Every event to every logger once more, as after `batchmeter replay`."""
        for name in self.client.plugins.loggers:
            await self.client.ledger.replay(name)
        await self.deliver()

    async def look(self, settlement: Settlement) -> BatchRun:
        """A batch's events and deliveries so far."""
        events = [event for event in self.recorder.events if event.batch_id == settlement.batch_id]
        deliveries = [one for one in await self.deliveries() if one.stored.event.batch_id == settlement.batch_id]
        return BatchRun(settlement, tuple(events), tuple(deliveries))

    async def deliveries(self) -> list[Delivery]:
        """To the loggers under test."""
        found = await self.client.ledger.deliveries()
        return [delivery for delivery in found if delivery.logger != _RECORDER]


@asynccontextmanager
async def open_bench(*plugins: object, timeout: float = 10.0) -> AsyncGenerator[Bench]:
    """`timeout`: seconds that a logger has for one event."""
    clock = _Clock()
    settings = Settings(
        track=False,
        load=(),
        default_account=ACCOUNT,
        accounts={ACCOUNT: {"speed": _SPEED, "seed": next(_seeds)}},
    )
    client = AsyncClient(settings=settings, ledger=open_ledger(":memory:", clock=clock), plugins=plugins, environ={})
    recorder = Recorder()
    client.plugins.register(recorder, _RECORDER)
    async with client:
        client.deliverer.close()  # nothing is delivered but by `deliver`
        deliverer = Deliverer(client.ledger, client.plugins, options=LaneOptions(timeout=timeout), random=lambda: 0.5)
        yield Bench(client, recorder, deliverer, clock)


async def run_batch(*plugins: object, **batch: Any) -> BatchRun:
    """One batch through the sandbox with these plugins, from upload to the last delivery; then all is closed.

    run = await run_batch(Slack(url), script="outcome=expired", metadata={"team": "search"})

    Arguments as `Bench.submit`.
    """
    async with open_bench(*plugins) as bench:
        return await bench.run(**batch)
