"""The ledger's promises hold, whatever is done in whatever order."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import DeliveryResult, Reschedule
from batchmeter.spend.prune import prune

ACCOUNTS = st.sampled_from(["a", "b"])
BATCHES = st.sampled_from(["b1", "b2"])
LOGGERS = st.sampled_from(["file", "otel"])
STATUSES = st.sampled_from(["in_progress", "completed", "failed"])
NUMBERS = st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("record"), ACCOUNTS, BATCHES, LOGGERS),
    st.tuples(st.just("observe"), ACCOUNTS, BATCHES, STATUSES),
    st.tuples(st.just("wake"), ACCOUNTS, BATCHES),
    st.tuples(st.just("claim"), st.integers(1, 5)),
    st.tuples(st.just("reschedule"), NUMBERS, STATUSES),
    st.tuples(st.just("settle"), NUMBERS, LOGGERS),
    st.tuples(st.just("revise"), ACCOUNTS, BATCHES, st.integers(1, 3)),
    st.tuples(st.just("claim_deliveries"), LOGGERS, st.integers(1, 3)),
    st.tuples(st.just("finish"), NUMBERS, st.sampled_from(["pending", "delivered", "dead"])),
    st.tuples(st.just("replay"), LOGGERS, st.booleans()),
    st.tuples(st.just("advance"), NUMBERS),
    st.tuples(st.just("prune")),
)


def pick(held, index):
    """One of them, counted from the newest, so that the fresh and the stale both get their turn."""
    return [held[-1 - index % len(held)]] if held else []


@dataclass
class Run:
    """One ledger under a sequence of steps; claims are kept, also stale ones, and used at any later time."""

    ledger: Any
    make: Any
    claims: list[Any] = field(default_factory=list)
    deliveries: list[Any] = field(default_factory=list)
    ended: set[tuple[str, str]] = field(default_factory=set)

    async def record(self, account, batch_id, logger):
        await self.make.record(self.ledger, account, self.make.batch(batch_id), loggers=[logger])

    async def observe(self, account, batch_id, status):
        await self.ledger.observe(account, self.make.batch(batch_id, status))

    async def wake(self, account, batch_id):
        await self.ledger.wake(account, batch_id)

    async def claim(self, limit):
        self.claims += await self.ledger.claim_due(owner="w", limit=limit, lease_seconds=2)

    async def reschedule(self, index, status):
        for claim in pick(self.claims, index):
            snapshot = claim.tracked.batch.model_copy(update={"status": status})
            await self.ledger.reschedule([Reschedule(claim, self.ledger.now() + 1000, snapshot)])

    async def settle(self, index, logger):
        for claim in pick(self.claims, index):
            await self.make.settle_claim(self.ledger, claim, loggers=[logger])

    async def revise(self, account, batch_id, revision):
        batch = self.make.batch(batch_id, "completed")
        settlement = self.make.settlement(account, batch, revision)
        await self.ledger.revise(settlement, {}, self.make.ending(account, batch, revision), callbacks=["otel"])

    async def claim_deliveries(self, logger, limit):
        taken = await self.ledger.claim_deliveries(logger, owner="d", limit=limit, lease_seconds=2)
        for delivery in taken:
            await self.check_order(delivery)
        self.deliveries += taken

    async def check_order(self, delivery):
        event = delivery.stored.event
        if event.type == "acreate_batch":
            return
        for other in await self.ledger.deliveries(logger=delivery.logger, state="pending"):
            begins = other.stored.event
            same = (begins.account, begins.batch_id) == (event.account, event.batch_id)
            assert not (same and begins.type == "acreate_batch"), "an ending overtook its beginning"

    async def finish(self, index, state):
        for delivery in pick(self.deliveries, index):
            await self.ledger.finish_deliveries([DeliveryResult(delivery, state)])

    async def replay(self, logger, dead_only):
        await self.ledger.replay(logger, dead_only=dead_only)

    async def advance(self, seconds):
        self.make.clock.advance(seconds)

    async def prune(self):
        await prune(self.ledger, settled_before=self.ledger.now())

    async def check(self):
        tracked = {(t.account, t.batch_id): t for t in await self.ledger.list_batches(limit=1000)}
        events = await self.ledger.events()
        assert len({stored.event.id for stored in events}) == len(events)
        known = {stored.seq for stored in events}
        assert all(delivery.stored.seq in known for delivery in await self.ledger.deliveries())
        types = Counter((s.event.account, s.event.batch_id, s.event.type, s.event.revision) for s in events)
        assert all(count == 1 for count in types.values())
        settled = {(s.account, s.batch_id) for s, _ in await self.ledger.settlements()}
        assert settled == {key for key, batch in tracked.items() if batch.settled_at is not None}
        for key, batch in tracked.items():
            assert types[(*key, "acreate_batch", 1)] == 1
            assert types[(*key, "batch_success", 1)] == int(batch.settled_at is not None)
            assert (batch.next_poll_at is None) == (batch.settled_at is not None)
            assert batch.batch.ended or key not in self.ended, "a final snapshot was replaced by an open one"
        self.ended = {key for key, batch in tracked.items() if batch.batch.ended}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=20, max_size=60))
def test_any_sequence_of_operations_keeps_the_promises(make, steps):
    async def play():
        ledger = open_ledger(":memory:", clock=make.clock)
        await ledger.open()
        try:
            run = Run(ledger, make)
            await run.record("a", "b1", "file")
            for name, *arguments in steps:
                await getattr(run, name)(*arguments)
                await run.check()
        finally:
            await ledger.aclose()

    asyncio.run(play())
