"""People who wait for one batch."""

import asyncio

import pytest

from batchmeter.calls.waiting import wait_for
from batchmeter.errors import APIConnectionError, AuthenticationError, SettlementError, UnknownAccountError


async def test_waiting_sees_every_step_and_returns_the_settlement(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [
        world.batch(status="validating"),
        world.batch(status="in_progress"),
        world.batch(status="finalizing"),
        world.batch(),
    ]
    seen = []
    settlement = await wait_for(world.tracker(), "openai", "batch_1", on_update=lambda batch: seen.append(batch.status))
    assert seen == ["validating", "in_progress", "finalizing", "completed"]
    assert settlement.batch_id == "batch_1"
    assert world.clock.slept == [0.1, 0.2, 0.4]
    assert await wait_for(world.tracker(), "openai", "batch_1") == settlement


async def test_waiting_outlasts_an_outage(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [
        APIConnectionError("nobody listens"),
        world.broken(),
        world.rate_limited(45),
        world.batch(),
    ]
    settlement = await wait_for(world.tracker(), "openai", "batch_1")
    assert settlement.cost.total is not None
    assert max(world.clock.slept) == 45


async def test_waiting_ends_at_once_when_the_key_is_refused(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [AuthenticationError("wrong key", status_code=401)]
    with pytest.raises(AuthenticationError):
        await wait_for(world.tracker(), "openai", "batch_1")
    tracked = await world.ledger.get_batch("batch_1")
    assert tracked.last_error == "AuthenticationError: wrong key"


async def test_waiting_in_vain_says_how_things_are(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(status="in_progress")]
    with pytest.raises(SettlementError, match=r"batch_1 was not settled within 0.05 s: it is in_progress"):
        await wait_for(world.tracker(sleep=asyncio.sleep), "openai", "batch_1", timeout=0.05)


async def test_waiting_for_what_nobody_tracks_or_has(world):
    world.provider()
    with pytest.raises(SettlementError, match="not tracked"):
        await wait_for(world.tracker(), "openai", "batch_of_others")
    with pytest.raises(UnknownAccountError):
        await wait_for(world.tracker(), "nowhere", "batch_1")


async def test_an_update_callback_s_error_reaches_the_caller_and_frees_the_lease(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(status="in_progress")]

    def fail(batch):
        raise KeyError(batch.status)

    with pytest.raises(KeyError):
        await wait_for(world.tracker(), "openai", "batch_1", on_update=fail)
    assert await world.ledger.claim("openai", "batch_1", owner="next", lease_seconds=1) is not None


async def test_waiting_beside_a_running_tracker_doubles_no_request(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [world.line("a")]

    async def sleep(seconds):
        world.clock.advance(min(seconds, 0.5))
        await asyncio.sleep(0.002)  # or a slow thread would outlast a lease of this clock's

    tracker = world.tracker(sleep=sleep)
    running = asyncio.create_task(tracker.run())
    settlement = await asyncio.wait_for(wait_for(tracker, "openai", "batch_1"), 20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert settlement.notes == ("lines_missing",)
    assert provider.count("content") == 2


async def test_wait_that_is_interrupted_twice_gives_its_claim_back(world):
    """Ctrl-C cancels the call, and the end of the program cancels it again: the next one would wait for the lease."""
    provider = world.provider()
    await world.submitted()
    asked = asyncio.Event()

    async def hang(batch_id, options):
        asked.set()
        await asyncio.Event().wait()

    provider.retrieve_batch = hang
    waiting = asyncio.create_task(wait_for(world.tracker(), "openai", "batch_1"))
    await asyncio.wait_for(asked.wait(), 10)
    waiting.cancel()
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await world.ledger.claim("openai", "batch_1", owner="next", lease_seconds=60) is not None
