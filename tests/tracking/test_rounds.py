"""A tracker's rounds are found, not imported; and neither they nor a clock, an account or a cancellation hold it up."""

import asyncio
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from batchmeter.calls.waiting import wait_for
from batchmeter.rounds import list_polling
from batchmeter.tracker import tracker as tracking
from batchmeter.tracker.account_state import Breaker
from batchmeter.tracker.schedule import LATE_LOOKS, TrackerOptions

HOUR = 3600


@pytest.fixture
def installed(monkeypatch):
    """Entry points in place of the installed ones."""

    def install(*values):
        found = [EntryPoint(f"ext{n}", value, tracking.GROUP) for n, value in enumerate(values)]
        monkeypatch.setattr(tracking, "entries", lambda group: found)
        tracking.extensions.cache_clear()

    yield install
    tracking.extensions.cache_clear()


async def test_batches_are_followed_without_any_round(world, installed):
    installed()
    provider = world.provider()
    for number in range(3):
        await world.submitted(f"b{number}")
        provider.batches[f"b{number}"] = [world.batch(f"b{number}")]
    tracker = world.tracker()
    assert (tracker.rounds, tracker.poller.cover) == ({}, None)
    assert (await tracker.once()).settled == 3
    assert provider.count("list") == 0


def tallies(tracker):
    """An extension."""

    async def run():
        raise RuntimeError("no")

    async def count():
        return tracker.ledger.now()

    tracker.rounds |= {"broken": run, "count": count}


async def test_a_round_or_package_that_fails_costs_no_other(world, installed, caplog, tmp_path, monkeypatch):
    Path(tmp_path, "round_that_exits.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    installed("no.such.module:extend", f"{__name__}:tallies", "round_that_exits:extend")
    world.provider().batches["batch_1"] = [world.batch()]
    await world.submitted()
    tracker = world.tracker()
    assert list(tracker.rounds) == ["broken", "count"]
    assert (await tracker.once()).settled == 1
    assert "the rounds of ext0 cannot be used" in caplog.text
    assert "the rounds of ext2 cannot be used" in caplog.text


async def test_a_single_pass_adopts_where_the_account_says_so(world):
    """`track --once` from cron is all the tracking that some have."""
    provider = world.provider()
    provider.listing = [world.batch("theirs", created_at=world.clock.now // 1000 - HOUR)]
    provider.batches["theirs"] = provider.listing
    summary = await world.tracker(options=TrackerOptions(adopt=("openai",))).once()
    assert (summary.settled, [event.batch_id for event in await world.endings()]) == (1, ["theirs"])


async def test_an_account_that_cannot_be_made_holds_up_no_other(world, monkeypatch):
    provider = world.provider("b")
    await world.submitted("broken", "a")
    await world.submitted("batch_1", "b")
    provider.batches["batch_1"] = [world.batch()]
    found = world.accounts.get

    def get(name):
        if name == "a":
            raise RuntimeError("its constructor failed")
        return found(name)

    monkeypatch.setattr(world.accounts, "get", get)
    tracker = world.tracker()
    tracker.notify("a")
    assert (await tracker.once()).settled == 1
    assert await world.ledger.claim("a", "broken", owner="next", lease_seconds=60), "given back"


async def test_a_late_look_that_always_fails_comes_to_an_end(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(output_file_id=None, request_counts=None)]
    await world.until_settled(world.tracker())
    provider.batches["batch_1"] = [TypeError("a bug")]
    for seconds in LATE_LOOKS:
        world.clock.advance(seconds)
        await world.tracker().once()
    calls = provider.count("retrieve")
    world.clock.advance(LATE_LOOKS[-1])
    await world.tracker().once()
    assert provider.count("retrieve") == calls


async def test_work_cancelled_before_it_begins_is_given_back(world):
    """A tracker that stops in the very moment it has claimed, and is started again."""
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    tracker = world.tracker()
    tracker.poller.start_due(tracker.state("openai"), provider, await tracker.poller.claim_due(["openai"]))
    (task,) = tracker.poller.tasks
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert tracker.state("openai").ready(world.clock.now / 1000)
    await tracker.poller.give_back(tracker.poller.unfinished)
    assert (await tracker.once()).settled == 1


def test_a_clock_that_is_set_back_makes_no_pause_longer():
    breaker = Breaker(lambda: 0.5, threshold=1, first=60)
    breaker.failure(100 * HOUR)
    assert breaker.pause_left(100 * HOUR + 10) == 50
    assert breaker.pause_left(HOUR) == 50
    assert breaker.pause_left(HOUR + 50) == 0


async def test_waiting_goes_on_when_the_clock_is_set_back(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(status="in_progress"), world.batch(status="in_progress"), world.batch()]
    naps = []

    async def sleep(seconds):
        naps.append(seconds)
        world.clock.advance(-24 * HOUR if len(naps) == 1 else seconds)

    await wait_for(world.tracker(sleep=sleep), "openai", "batch_1")
    assert max(naps) < 10


async def test_lists_are_trusted_again_when_the_clock_is_set_back(world):
    provider, tracker = world.provider(), world.tracker()
    lists = list_polling.ListPolling(world.ledger, tracker.timetable)
    lists._distrust(tracker.state(provider.account))
    world.clock.advance(-24 * HOUR)
    assert not lists._is_distrusted(tracker.state(provider.account))


async def test_a_tracker_sums_up_what_has_ended(world):
    provider = world.provider()
    await world.submitted("b1")
    provider.batches["b1"] = [world.batch("b1")]
    await world.tracker().once()

    async def state(session):
        return dict(await session.row("spend_state"))

    found = await world.ledger.database.read(state)
    assert (found["mark"], found["changes"]) == (found["last"], 1)
