"""Looks at batches without output are planned in the ledger: one worker has each, and none is lost with its worker."""

from functools import partial

import pytest

from batchmeter.ledger import open_ledger
from batchmeter.rounds.late_files import LATE_HORIZON, LateLook, claim_late_looks, finish_late_look
from batchmeter.spend.prune import prune

MINUTES = 60_000


@pytest.fixture
async def settled(ledger, make, clock):
    """`b1`, which is to be looked at again in 15 minutes."""
    tracked = await make.record(ledger, "openai", make.batch("b1", created_at=1, input_file_id="file_1"))
    assert await make.settle(ledger, tracked, look_again_at=clock.now + 15 * MINUTES)
    return ledger


async def claim(ledger, *accounts):
    return await ledger.database.write(
        partial(claim_late_looks, accounts=accounts or ("openai",), lease_seconds=600, limit=10)
    )


async def finish(ledger, look, again_at):
    await ledger.database.write(partial(finish_late_look, look=look, again_at=again_at))


async def test_look_is_due_after_a_restart_once(settled, url, clock):
    async def other():
        ledger = open_ledger(url, clock=clock)
        await ledger.open()
        try:
            return await claim(ledger)
        finally:
            await ledger.aclose()

    settled_at = clock.now
    assert await other() == []
    clock.advance(15 * 60)
    assert await claim(settled, "azure") == []
    assert await other() == [LateLook("openai", "b1", settled_at, 0)]
    assert await claim(settled) == [], "leased"
    clock.advance(600)
    assert await claim(settled) == [LateLook("openai", "b1", settled_at, 0)], "its worker was killed"


async def test_next_look_is_planned_or_forgotten(settled, clock):
    clock.advance(15 * 60)
    [look] = await claim(settled)
    await finish(settled, look, clock.now + 45 * MINUTES)
    await finish(settled, look, clock.now)  # by a worker whose lease has run out
    assert await claim(settled) == []
    clock.advance(45 * 60)
    [look] = await claim(settled)
    assert look.looks == 1
    await finish(settled, look, None)
    clock.advance(48 * 3600)
    assert await claim(settled) == []


async def test_look_planned_by_a_wrong_clock_is_due(settled, clock):
    clock.advance(-2 * LATE_HORIZON / 1000)
    [look] = await claim(settled)
    assert look.settled_at == clock.now


async def test_pruned_and_renamed_batches_are_not_looked_at(settled, make, clock):
    await make.record(settled, "openai", make.batch("b1", created_at=2, input_file_id="file_2"))
    clock.advance(24 * 3600)
    assert await claim(settled) == [], "the id is another batch's by now"
    tracked = await make.record(settled, "openai", make.batch("b2"), loggers=())
    await make.settle(settled, tracked, loggers=(), look_again_at=clock.now)
    clock.advance(1)
    await prune(settled, settled_before=clock.now)
    assert await claim(settled) == []
