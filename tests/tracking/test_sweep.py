"""The window cover: a hundred due batches for the price of one list, and never a wrong answer for it."""

import asyncio
from random import Random
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmeter.ledger.records import Reschedule
from batchmeter.providers import Capabilities
from batchmeter.rounds.list_polling import ListPolling, _newest
from batchmeter.tracker.schedule import BACKGROUND, TrackerOptions, in_step

T0 = 1_790_000_000


@pytest.fixture
def lister(world):
    """An account of 300 batches, one a second, all due; its provider can list after any id."""
    provider = world.provider()

    class Listing(type(provider)):
        capabilities: ClassVar[Capabilities] = Capabilities()

    provider.__class__ = Listing
    return provider


async def filled(world, provider, count, *, status="in_progress", **fields):
    names = [f"batch_{number:04d}" for number in range(count)]
    for number, name in enumerate(names):
        provider.batches[name] = [world.batch(name, status, created_at=T0 + number, **fields)]
    await asyncio.gather(*(world.submitted(name, created_at=T0 + number) for number, name in enumerate(names)))
    show(world, provider)


def show(world, provider):
    """Batches as lists show them: the newest first."""
    provider.listing = sorted((b[0] for b in provider.batches.values()), key=lambda b: -b.created_at)


async def test_three_hundred_due_batches_cost_three_requests(world, lister):
    await filled(world, lister, 300)
    summary = await world.tracker().once()
    assert summary.looked == 300
    assert [name for name, _ in lister.calls].count("retrieve") == 0
    assert lister.count("list") == 3


async def test_a_long_backlog_lists_no_window_again_and_again(world, lister):
    numbers = list(range(600))
    Random(1).shuffle(numbers)  # due in another order than made, as after a while of looks and errors
    for number in numbers:
        name = f"batch_{number:04d}"
        await world.submitted(name, created_at=T0 + number)
        lister.batches[name] = [world.batch(name, "in_progress", created_at=T0 + number)]
        world.clock.advance(1)
    show(world, lister)
    await world.tracker(options=TrackerOptions(block=60)).once()
    assert lister.count("list") + lister.count("retrieve") <= 20


async def test_endings_in_a_list_are_settled(world, lister):
    await filled(world, lister, 150)
    for number in (3, 77, 149):
        name = f"batch_{number:04d}"
        lister.batches[name] = [world.batch(name, created_at=T0 + number)]
    show(world, lister)
    await world.tracker().once()
    assert sorted(event.batch_id for event in await world.endings()) == ["batch_0003", "batch_0077", "batch_0149"]


async def test_an_ending_of_a_batch_that_was_not_due_yet_is_not_wasted(world, lister):
    await filled(world, lister, 50)
    tracker = world.tracker()
    await tracker.once()
    await world.ledger.wake("openai", "batch_0049")
    await world.ledger.wake("openai", "batch_0048")
    lister.batches["batch_0020"] = [world.batch("batch_0020", created_at=T0 + 20)]
    show(world, lister)
    lister.calls.clear()
    await tracker.once()
    assert [event.batch_id for event in await world.endings()] == ["batch_0020"]
    assert [name for name, _ in lister.calls] == ["list", "content"]


async def test_windows_follow_the_due_ones_through_a_long_account(world, lister):
    await filled(world, lister, 300)
    tracker = world.tracker()
    await tracker.once()
    lister.calls.clear()
    for number in (20, 21, 250, 251, 252, 140):
        await world.ledger.wake("openai", f"batch_{number:04d}")
    await tracker.once()
    assert lister.calls == [("list", "batch_0253"), ("list", "batch_0141"), ("list", "batch_0022")]


async def test_a_lone_batch_that_is_about_to_end_is_asked_for(world, lister):
    await filled(world, lister, 50)
    lister.batches["batch_0007"] = [world.batch("batch_0007", "finalizing", created_at=T0 + 7)]
    show(world, lister)
    tracker = world.tracker()
    await tracker.once()
    await world.ledger.wake("openai", "batch_0007")
    lister.calls.clear()
    await tracker.once()
    assert lister.calls == [("retrieve", "batch_0007")]


async def test_a_batch_that_no_list_shows_is_asked_for(world, lister):
    await filled(world, lister, 20)
    lister.listing = [item for item in lister.listing if item.id != "batch_0007"]
    await world.tracker().once()
    assert [call for call in lister.calls if call[0] == "retrieve"] == [("retrieve", "batch_0007")]


async def test_batches_of_one_second_are_all_found(world, lister):
    for number in range(40):
        name = f"burst_{number:02d}"
        await world.submitted(name, created_at=T0)
        lister.batches[name] = [world.batch(name, "in_progress")]
    lister.listing = [lister.batches[f"burst_{(n * 7) % 40:02d}"][0] for n in range(40)]
    summary = await world.tracker().once()
    assert summary.looked == 40
    assert lister.count("retrieve") == 0


async def test_an_account_whose_lists_are_oldest_first_is_asked_batch_by_batch(world, lister, caplog):
    await filled(world, lister, 30)
    lister.listing.reverse()
    tracker = world.tracker()
    summary = await tracker.once()
    assert summary.looked == 30
    assert lister.count("retrieve") == 30
    world.clock.advance(20)
    await tracker.once()
    assert lister.count("list") == 1
    assert "not newest first" in caplog.text


async def test_a_cursor_that_is_ignored_is_noticed(world, lister, caplog):
    await filled(world, lister, 150)
    tracker = world.tracker()
    await tracker.once()
    whole = type(lister).list_batches

    async def ignoring(self, *, after, limit, options):
        return await whole(self, after=None, limit=limit, options=options)

    type(lister).list_batches = ignoring
    for number in (10, 11, 12):
        await world.ledger.wake("openai", f"batch_{number:04d}")
    lister.calls.clear()
    summary = await tracker.once()
    assert summary.looked == 3
    assert lister.count("retrieve") == 3
    assert "not newest first after a cursor" in caplog.text


async def test_a_list_that_fails_falls_back(world, lister):
    await filled(world, lister, 10)
    lister.listing = ValueError("a list that nobody can read")
    summary = await world.tracker().once()
    assert summary.looked == 10
    assert lister.count("retrieve") == 10


async def test_a_rate_limited_list_pauses_the_account(world, lister):
    await filled(world, lister, 10)
    lister.listing = world.rate_limited(60)
    await world.tracker().once()
    assert lister.count("retrieve") == 0
    tracked = await world.ledger.get_batch("batch_0003")
    assert tracked.next_poll_at >= world.clock.now + 60_000
    assert "slow down" in tracked.last_error


async def test_what_one_list_shows_comes_due_together(world, lister):
    await filled(world, lister, 100)
    tracker = world.tracker()
    await tracker.once()
    for _ in range(3):
        world.clock.now = await world.ledger.next_due_at()
        lister.calls.clear()
        await tracker.once()
        assert lister.calls == [("list", None)]
    times = {tracked.next_poll_at for tracked in await world.ledger.list_batches(limit=100)}
    assert len(times) == 1


@given(st.floats(1e9, 4e9), st.text(max_size=20))
def test_a_step_is_soon_and_the_same_for_all_of_an_account(at, account):
    step = in_step(at, account)
    assert at - 1e-3 <= step < at + BACKGROUND.step + 1e-3
    assert in_step(step - 0.01, account) == pytest.approx(step, abs=1e-3)


async def test_a_hint_is_not_put_off_by_a_list(world, lister):
    await filled(world, lister, 50)
    tracker = world.tracker()
    await tracker.once()
    asked = world.clock.now = await world.ledger.next_due_at() - 1000
    await world.ledger.wake("openai", "batch_0007")
    await world.ledger.put_off("openai", [("batch_0007", world.clock.now + 300_000)], began=asked)
    assert await world.ledger.next_due_at() == world.clock.now


def gated(lister, most):
    """Lists wait until `most` of them are under way (or nothing else can run); returns how many were at once."""
    whole = type(lister).list_batches
    counts = {"now": 0, "most": 0}
    full = asyncio.Event()

    async def slow(self, **given):
        counts["now"] += 1
        counts["most"] = max(counts["most"], counts["now"])
        if counts["now"] == most:
            full.set()
        await asyncio.wait_for(full.wait(), 5)
        await asyncio.sleep(0)
        counts["now"] -= 1
        return await whole(self, **given)

    type(lister).list_batches = slow
    return counts


async def test_one_account_s_windows_are_asked_together_a_few_at_a_time(world, lister):
    await filled(world, lister, 450)
    tracker = world.tracker(options=TrackerOptions(looks=4))
    counts = gated(lister, 4)
    summary = await tracker.once()
    assert (summary.looked, lister.count("list"), lister.count("retrieve")) == (450, 5, 0)
    assert counts["most"] == 4


async def test_lists_are_within_the_accounts_budget(world, lister):
    await filled(world, lister, 450)
    tracker = world.tracker(options=TrackerOptions(requests_per_second=2.0))
    lane = tracker.state("openai")
    lane.budget.refused()  # nothing saved up, and half the rate
    await tracker.once()
    assert lister.count("list") == 5
    assert 3.7 <= sum(world.clock.slept) <= 4.1  # the rate creeps back with each good answer


async def test_a_refused_list_pauses_the_account_whatever_those_beside_it_answer(world, lister):
    """Eight under way, three refused: one pause, as long as was asked for, and half the rate, not an eighth."""
    await filled(world, lister, 450)
    whole, all_sent = type(lister).list_batches, asyncio.Event()
    calls = []

    async def some_refused(self, *, after, limit, options):
        calls.append(after)
        if len(calls) == 4:
            all_sent.set()
        refused = len(calls) in (1, 3, 4)
        await all_sent.wait()
        if refused:
            raise world.rate_limited(90)
        return await whole(self, after=after, limit=limit, options=options)

    type(lister).list_batches = some_refused
    tracker = world.tracker(options=TrackerOptions(looks=4))
    summary = await tracker.once()
    lane = tracker.state("openai")
    assert len(calls) == 4
    assert lister.count("retrieve") == 0
    assert summary.looked == 100
    assert lane.budget.rate == pytest.approx(10, rel=0.1)
    assert 90 <= lane.pause_left(world.clock.now / 1000) <= 100
    paused = [tracked for tracked in await world.ledger.list_batches(limit=500) if tracked.last_error]
    assert len(paused) == 350
    assert all(tracked.next_poll_at >= world.clock.now + 90_000 for tracked in paused)


async def test_after_a_pause_one_list_is_tried_before_the_others(world, lister):
    await filled(world, lister, 300)
    working, lister.listing = lister.listing, world.rate_limited(60)
    tracker = world.tracker(options=TrackerOptions(looks=1))
    await tracker.once()
    assert lister.count("list") == 1
    world.clock.now = await world.ledger.next_due_at() + 60_000
    lister.calls.clear()
    await tracker.once()
    assert [name for name, _ in lister.calls] == ["list"]
    lister.listing = working
    world.clock.advance(400)
    lister.calls.clear()
    summary = await tracker.once()
    assert (summary.looked, lister.count("list")) == (300, 3)


async def test_a_batch_behind_many_of_others_is_found_in_a_second_pass(world, lister):
    """Two hundred batches that nobody tracks lie between two groups of ours: the first lists tell where."""
    await filled(world, lister, 210)
    tracker = world.tracker()
    for number in range(5, 205):
        name = f"batch_{number:04d}"
        claim = await world.ledger.claim("openai", name, owner="x", lease_seconds=9)
        await world.ledger.reschedule([Reschedule(claim, world.clock.now + 10**9)])
    tracker.poller.cover = ListPolling(world.ledger, tracker.timetable).cover  # which has seen none of them
    await tracker.once()
    assert lister.count("retrieve") == 0
    assert lister.calls[0] == ("list", None)
    assert lister.count("list") <= 3


async def test_lists_that_come_at_once_and_disagree_leave_the_end_standing(world, lister):
    """Overlapping windows (batches made elsewhere shift them): a batch open in one and ended in the other has ended."""
    ended, open_ = world.batch("b"), world.batch("b", "in_progress")
    assert _newest([ended, open_]) == _newest([open_, ended]) == {"b": ended}


async def test_a_failing_account_with_many_windows_slows_no_other(world, lister):
    await filled(world, lister, 300)
    other = world.provider("other")
    other.__class__ = type(lister)
    for number in range(50):
        name = f"other_{number}"
        await world.submitted(name, "other", created_at=T0 + number)
        other.batches[name] = [world.batch(name, "in_progress", created_at=T0 + number)]
    show(world, other)
    hanging, released = type("Hanging", (type(lister),), {}), asyncio.Event()

    async def hang(self, **given):
        self.calls.append(("list", given["after"]))
        await released.wait()
        raise world.broken()

    hanging.list_batches = hang
    lister.__class__ = hanging
    tracker = world.tracker()
    with tracker.poller.watch.on("other", "other_0") as changed:
        running = asyncio.create_task(tracker.once())
        await changed.wait()
    assert tracker.poller.total.looked == 50
    assert lister.count("list") == 3
    assert not running.done()
    released.set()
    await running
    assert tracker.state("openai").pause_left(world.clock.now / 1000) > 0
    assert tracker.state("other").pause_left(world.clock.now / 1000) == 0
    assert lister.count("retrieve") == 0
