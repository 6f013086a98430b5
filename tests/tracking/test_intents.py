"""Creates whose answer was lost, and batches that others made."""

import asyncio
from datetime import UTC, datetime

import pytest

from batchmeter.calls.waiting import wait_for
from batchmeter.errors import APIConnectionError
from batchmeter.ledger.records import Intent, Submission
from batchmeter.models import Attribution
from batchmeter.rounds.adoption import adopt_all, adopt_id
from batchmeter.rounds.lost_creates import OPEN_INTENTS, find_lost_create
from batchmeter.tracker.build_events import created_event
from batchmeter.tracker.schedule import TrackerOptions

T0 = 1_790_000_000


def intent(world, intent_id="intent-1", account="openai", metadata=None, **fields):
    submission = Submission(
        account,
        "openai",
        "/v1/chat/completions",
        input_file_id="in",
        metadata=metadata or {"team": "search"},
        attribution=Attribution(user="ada"),
        traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    )
    return Intent(intent_id, submission, created_at=world.clock.now, **fields)


def others(world, count):
    """A busy account: newest first, one batch a second back from now."""
    return [world.batch(f"other_{n}", "in_progress", created_at=T0 - n, input_file_id=f"f{n}") for n in range(count)]


async def test_a_lost_create_is_adopted_with_everything_its_caller_said(world):
    provider = world.provider()
    keeper = world.logger()
    await world.ledger.open_intent(intent(world))
    made = world.batch(status="in_progress", metadata={"team": "search", "batchmeter_id": "intent-1"})
    provider.listing = [*others(world, 150), made]
    provider.batches["batch_1"] = [world.batch()]
    tracker = world.tracker()

    assert await tracker.rounds["lost_creates"]() == 0, "the create may still be under way"
    world.clock.advance(61)
    assert await tracker.rounds["lost_creates"]() == 1

    assert (await world.ledger.intent("intent-1")).batch_id == "batch_1"
    await world.until_settled(tracker)
    await world.deliverer().drain(5)
    created, ending = keeper.events
    assert (created.type, ending.type) == ("acreate_batch", "batch_success")
    assert created.adopted is False
    assert created.attribution.user == ending.attribution.user == "ada"
    assert created.metadata == ending.metadata == {"team": "search"}
    assert created.batch.metadata == {"team": "search"}
    assert created.traceparent.startswith("00-111")


@pytest.mark.parametrize(("waits", "early", "late"), [(0.0, 300, 601), (3600.0, 3600, 301)])
async def test_an_intent_without_a_batch_is_closed_after_its_grace(world, waits, early, late):
    provider = world.provider()
    provider.create_wait = waits  # for its input file, at most
    provider.listing = others(world, 3)
    await world.ledger.open_intent(intent(world))
    tracker = world.tracker()
    world.clock.advance(early)
    assert await tracker.rounds["lost_creates"]() == 0
    world.clock.advance(late)
    assert await tracker.rounds["lost_creates"]() == 1
    closed = await world.ledger.intent("intent-1")
    assert (closed.state, closed.batch_id) == ("closed", None)
    assert "no batch" in closed.reason


async def test_an_intent_is_not_closed_while_the_provider_cannot_be_asked(world):
    provider = world.provider()
    provider.listing = APIConnectionError("down")
    await world.ledger.open_intent(intent(world))
    world.clock.advance(7200)
    assert await world.tracker().rounds["lost_creates"]() == 0
    assert (await world.ledger.intent("intent-1")).state == "open"


@pytest.mark.parametrize("usable", [True, False])
async def test_an_account_is_searched_however_many_creates_another_has_lost(world, usable):
    if usable:
        world.provider("other").listing = APIConnectionError("down")
    for number in range(OPEN_INTENTS + 1):
        await world.ledger.open_intent(intent(world, f"i{number}", account="other"))
    world.clock.advance(10)
    await world.ledger.open_intent(intent(world))
    world.provider().listing = [world.batch(status="validating", metadata={"batchmeter_id": "intent-1"})]
    world.clock.advance(61)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).batch_id == "batch_1"


async def test_the_search_stops_once_it_is_older_than_the_call(world):
    provider = world.provider()
    provider.listing = others(world, 5000)
    await world.ledger.open_intent(intent(world))
    world.clock.advance(901)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert provider.count("list") <= 11, "one batch a second, back from the newest as long as the call is ago"


async def test_an_intent_of_a_busy_account_comes_to_an_end(world):
    provider = world.provider()
    provider.listing = [
        world.batch(f"b{n}", created_at=T0 + 901 - n // 7, input_file_id=f"f{n}") for n in range(11_000)
    ]
    await world.ledger.open_intent(intent(world))
    world.clock.advance(901)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert provider.count("list") > 100


async def test_a_lost_create_is_found_in_a_list_of_any_order(world):
    provider = world.provider()
    made = world.batch(status="in_progress", created_at=T0 + 2, metadata={"batchmeter_id": "intent-1"})
    provider.listing = [*[world.batch(f"old{n}", created_at=T0 - 86400 + n * 60) for n in range(150)], made]
    await world.ledger.open_intent(intent(world))
    world.clock.advance(901)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).batch_id == "batch_1"


async def test_an_untagged_batch_is_recognised_by_its_input_file(world):
    provider = world.provider()
    await world.ledger.open_intent(intent(world))
    provider.listing = [*others(world, 3), world.batch(status="in_progress", metadata=None)]
    world.clock.advance(61)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).batch_id == "batch_1"


@pytest.mark.parametrize("shown", [True, False])
async def test_untagged_batches_over_one_file_are_told_apart(world, shown):
    provider = world.provider()
    for number in range(3):
        run = {"run": str(number)}
        await world.ledger.open_intent(intent(world, f"i{number}", metadata=run))
        made = world.batch(
            f"b{number}", "in_progress", created_at=world.clock.now // 1000 + 1, metadata=run if shown else None
        )
        provider.listing = [made, *provider.listing]
        world.clock.advance(1 if shown else 20)
    if shown:
        provider.listing = provider.listing[::-1]  # made within about a second: any order, and no times to go by
    world.clock.advance(901)
    assert await world.tracker().rounds["lost_creates"]() == 3
    assert [(await world.ledger.intent(f"i{n}")).batch_id for n in range(3)] == ["b0", "b1", "b2"]


async def test_a_batch_that_says_otherwise_is_not_our_own(world):
    provider = world.provider()
    await world.ledger.open_intent(intent(world))
    provider.listing = [
        world.batch("theirs", metadata={"team": "sales"}),
        world.batch("ours", created_at=T0 + 90, metadata={"team": "search", "gateway": "g1"}),
    ]
    world.clock.advance(901)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).batch_id == "ours"


async def test_adopting_all_during_a_create_takes_nothing_from_it(world):
    provider = world.provider()
    mine = await world.ledger.open_intent(intent(world))
    made = world.batch("ours", "validating", metadata=None)
    provider.listing = [made, world.batch("theirs", metadata={"team": "sales"})]
    assert await adopt_all(world.tracker(), provider) == 2
    event = created_event(mine.submission, made, time=world.clock.now)
    await world.ledger.record_created(mine.submission, made, event, next_poll_at=world.clock.now, intent_id=mine.id)
    ours, theirs = [await world.ledger.get_batch(name) for name in ("ours", "theirs")]
    assert (ours.submission, theirs.submission.adopted) == (mine.submission, True)
    assert len(await world.ledger.events()) == 2
    assert (await world.ledger.intent(mine.id)).state == "created"


async def test_a_known_batch_over_the_same_file_is_nobody_elses_lost_create(world):
    provider = world.provider()
    await world.submitted("batch_1")
    await world.ledger.open_intent(intent(world))
    provider.listing = [world.batch("batch_1", "in_progress", metadata=None)]
    world.clock.advance(901)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).state == "closed"


async def test_a_lost_create_can_be_looked_for_at_once(world):
    provider = world.provider()
    asked = intent(world)
    assert await find_lost_create(provider, asked) is None
    provider.listing = [world.batch(status="validating", metadata={"batchmeter_id": "intent-1"})]
    assert (await find_lost_create(provider, asked)).id == "batch_1"
    for trouble in (APIConnectionError("down"), TimeoutError(), KeyError("data")):
        provider.listing = trouble
        assert await find_lost_create(provider, asked) is None


async def test_batches_of_others_are_adopted_once_and_metered_like_our_own(world):
    provider = world.provider()
    keeper = world.logger()
    await world.submitted("ours")
    provider.listing = [
        world.batch("ours", "in_progress"),
        world.batch("running", "in_progress", metadata={"nb": "7"}),
        world.batch("done"),
        world.batch("too_old", created_at=T0 - 10_000),
    ]
    for item in provider.listing:
        provider.batches[item.id] = [world.batch(item.id)]
    tracker = world.tracker()
    since = datetime.fromtimestamp(T0 - 5000, UTC)

    assert await adopt_all(tracker, provider, since=since) == 2
    assert await adopt_all(tracker, provider, since=since) == 0
    for name in ("ours", "running", "done"):
        await world.until_settled(tracker, name)
    await world.deliverer().drain(5)

    assert await world.ledger.get_batch("too_old") is None
    flags = {(event.batch_id, event.type): event.adopted for event in keeper.events}
    assert flags == {
        ("ours", "acreate_batch"): False,
        ("ours", "batch_success"): False,
        ("running", "acreate_batch"): True,
        ("running", "batch_success"): True,
        ("done", "acreate_batch"): True,
        ("done", "batch_success"): True,
    }
    (running,) = [e for e in keeper.events if (e.batch_id, e.type) == ("running", "batch_success")]
    assert running.metadata == {"nb": "7"}
    assert str(running.cost.total) == "0.00021"


async def test_one_batch_is_adopted_by_its_id(world):
    provider = world.provider()
    provider.batches["batch_1"] = [world.batch()]
    tracker = world.tracker()
    assert await adopt_id(tracker, "openai", "batch_1") is True
    assert await adopt_id(tracker, "openai", "batch_1") is False
    settlement = await wait_for(tracker, "openai", "batch_1")
    assert settlement.cost.total is not None


async def test_a_tracker_told_to_adopt_finds_what_others_make_while_it_runs(world):
    provider = world.provider()
    world.clock.advance(100)  # younger ones might be our own, not recorded yet
    provider.listing = others(world, 250)
    for item in provider.listing:
        provider.batches[item.id] = [item]
    naps, passes = [], [asyncio.Event() for _ in range(3)]

    async def sleep(seconds):
        if seconds == 77:
            passes[len(naps)].set()
            naps.append(seconds)
            await asyncio.sleep(0) if len(naps) < 3 else await asyncio.sleep(60)
        await asyncio.sleep(0.001)

    tracker = world.tracker(sleep=sleep, options=TrackerOptions(adopt=("openai",), reconcile=77))
    running = asyncio.create_task(tracker.run())
    await asyncio.wait_for(passes[0].wait(), 10)
    assert len(await world.ledger.list_batches(limit=1000)) == 250
    provider.listing.insert(0, world.batch("fresh", "in_progress", created_at=T0 + 5))
    provider.batches["fresh"] = [world.batch("fresh", "in_progress", created_at=T0 + 5)]
    provider.calls.clear()
    await asyncio.wait_for(passes[2].wait(), 10)
    assert (await world.ledger.get_batch("fresh")).submission.adopted
    assert provider.count("list") <= 2 * 3, "it reads what is as old as the pass before, not all"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
