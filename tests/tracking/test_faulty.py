"""Providers in long trouble, or with clocks of their own: every batch ends settled, or says why it is unresolved."""

import pytest

HOURS = 3600


@pytest.mark.parametrize("skew", [-6 * HOURS, -300, 300, 6 * HOURS])
async def test_a_provider_s_clock_may_be_hours_off(world, skew):
    provider, now = world.provider(), world.clock.now // 1000
    story = {"created_at": now + skew, "expires_at": now + skew + 86400}
    done = {"in_progress_at": now + skew + 10, "completed_at": now + skew + 100}
    provider.batches["batch_1"] = [
        world.batch("batch_1", "in_progress", **story),
        world.batch("batch_1", "finalizing", **story),
        world.batch("batch_1", "completed", **story, **done),
    ]
    await world.submitted(**story)
    began = world.clock.now
    event = await world.until_settled(world.tracker())
    assert (event.type, str(event.cost.total)) == ("batch_success", "0.00021")
    assert event.times.total_seconds == 100
    assert world.clock.now - began < 15 * 60 * 1000, "a batch from the future is looked at all the same"


async def test_timestamps_in_no_order_are_no_durations(world):
    provider = world.provider()
    created = world.clock.now // 1000
    provider.batches["batch_1"] = [world.batch("batch_1", in_progress_at=created + 50, completed_at=created - 50)]
    await world.submitted()
    event = await world.until_settled(world.tracker())
    assert (event.times.run_seconds, event.times.total_seconds) == (None, None)
    assert event.cost.total is not None


@pytest.mark.parametrize(
    "times",
    [
        {"created_at": 1_790_000_000_000, "completed_at": 1_790_000_100_000},
        {"expires_at": 1_790_000_000_000},
        {"created_at": -1e13},
        {"created_at": "inf"},
        {"completed_at": 10**30},
    ],
    ids=str,
)
async def test_times_that_are_no_instants_are_unknown_and_the_batch_settles(world, times):
    provider = world.provider()
    provider.batches["batch_1"] = [world.batch("batch_1", **times)]
    await world.submitted(**{name: value for name, value in times.items() if name != "completed_at"})
    event = await world.until_settled(world.tracker())
    assert str(event.cost.total) == "0.00021"
    assert event.times.total_seconds in {None, 100}


async def test_hours_of_server_errors_are_outlasted_with_few_requests(world):
    provider = world.provider()
    provider.batches["batch_1"] = [world.broken()]
    await world.submitted()
    tracker, began = world.tracker(), world.clock.now
    while world.clock.now - began < 5 * HOURS * 1000:
        await tracker.once()
        due = await world.ledger.next_due_at()
        world.clock.now = max(world.clock.now + 1000, due)
    assert provider.count("retrieve") < 100
    assert "InternalServerError" in (await world.ledger.get_batch("batch_1")).last_error
    provider.batches["batch_1"] = [world.batch("batch_1")]
    provider.files["out"] = [world.broken()] * 20 + [world.line("a") + world.line("b")]
    event = await world.until_settled(tracker)
    assert str(event.cost.total) == "0.00021"


async def test_a_storm_of_429_ends_in_a_settlement_and_never_in_haste(world):
    provider = world.provider()
    provider.batches["batch_1"] = [*[world.rate_limited(120)] * 30, world.batch("batch_1")]
    await world.submitted()
    began = world.clock.now
    await world.until_settled(world.tracker())
    assert world.clock.now - began >= 30 * 120 * 1000, "each wait was as long as asked for"
    assert provider.count("retrieve") == 31


async def test_a_batch_that_goes_back_and_forth_ends_once(world):
    provider = world.provider()
    back = [world.batch("batch_1", status) for status in ("finalizing", "in_progress", "validating", "in_progress")]
    provider.batches["batch_1"] = [*back, world.batch("batch_1")]
    await world.submitted()
    tracker = world.tracker()
    await world.until_settled(tracker)
    provider.batches["batch_1"] = [world.batch("batch_1", "in_progress")]
    await tracker.observed("openai", world.batch("batch_1", "in_progress"))
    await tracker.once()
    assert len(await world.endings()) == 1
    assert (await world.ledger.get_batch("batch_1")).batch.status == "completed"
