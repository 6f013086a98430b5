"""Work that is cancelled at any moment leaves no claim behind: nobody has to wait until its lease has run out."""

import asyncio

import pytest
from tests.interrupts import at_every_step
from tests.tracking.conftest import Clock, World

from batchmeter.calls.waiting import wait_for
from batchmeter.ledger import open_ledger
from batchmeter.providers import Capabilities

BATCHES = {"batch_ended": "openai", "batch_open": "openai", "batch_other": "openai", "batch_away": "nowhere"}
"""Ids and accounts: lists show two that are open together, and one account is not configured here."""


async def run(tracker):
    """A tracker, until it has nothing to do."""

    async def rest(seconds):
        if seconds < tracker.options.reconcile:
            await tracker.idle()
            running.cancel()
        await asyncio.Event().wait()

    tracker.poller.sleep = rest
    running = asyncio.create_task(tracker.run())
    try:
        await asyncio.wait({running})
    finally:
        running.cancel()
        await asyncio.wait({running})


async def once(tracker):
    """`track --once`, and the close of its client."""
    try:
        await tracker.once()
    finally:
        await tracker.stop()


async def shown(tracker):
    """A call that shows an end in a client without a tracker, which is closed then."""
    try:
        await tracker.observed("openai", World.batch("batch_ended"))
        await tracker.idle()
    finally:
        await tracker.stop()


async def wait(tracker):
    await wait_for(tracker, "openai", "batch_ended")


@pytest.mark.parametrize("work", [run, once, shown, wait])
async def test_work_cancelled_at_any_step_leaves_no_claim(work):
    async def attempt(interrupt):
        clock = Clock()
        ledger = open_ledger(":memory:", clock=clock)
        await ledger.open()
        world = World(ledger, clock)
        provider = world.provider()
        provider.capabilities = Capabilities()
        provider.batches = {name: [world.batch(name, "in_progress")] for name in BATCHES}
        provider.batches["batch_ended"] = [world.batch("batch_ended")]
        provider.listing = [world.batch(name, "in_progress") for name in ("batch_open", "batch_other")]
        for name, account in BATCHES.items():
            await world.submitted(name, account)
        tracker = world.tracker()
        tracker.notify("nowhere")
        cut = await interrupt.cuts(work(tracker))
        for name, account in BATCHES.items():
            claim = await ledger.claim(account, name, owner="next", lease_seconds=60)
            ended = await ledger.settlement(name) is not None  # a settlement that had begun is written all the same
            assert (claim is None) == ended, (interrupt, name)
            assert ended == (name == "batch_ended") or cut, interrupt
        assert len(await world.endings()) <= 1
        await ledger.aclose()

    assert await at_every_step(attempt, short=5) > 10
