"""Nothing costs $0 because nothing was seen: late files, missing counts, counts that fall, files that are still empty."""

from decimal import Decimal

import pytest

from batchmeter.tracker.schedule import LATE_LOOKS

COST = Decimal("0.00021")
T0 = 1_790_000_000


def ended(world, status, **fields):
    """An ending that names no file."""
    return world.batch(status=status, **({"in_progress_at": T0 + 10, "output_file_id": None} | fields))


SILENT = {
    "cancelled, counts null": ("cancelled", {}),
    "expired, counts null": ("expired", {}),
    "failed, counts null": ("failed", {}),
    "cancelled, counts of nothing": ("cancelled", {"request_counts": {"total": 0}}),
    "expired, none of two": ("expired", {"request_counts": {"total": 2, "completed": 0}}),
    "completed, no counts": ("completed", {"request_counts": None}),
    "cancelled before it started": ("cancelled", {"in_progress_at": None, "request_counts": {"total": 0}}),
    "cancelled, empty error file": ("cancelled", {"error_file_id": "empty"}),
    "completed, empty error file": ("completed", {"error_file_id": "empty", "request_counts": None}),
    "completed, empty output file": ("completed", {"output_file_id": "empty", "request_counts": None}),
    "expired, empty output file": ("expired", {"output_file_id": "empty"}),
}


@pytest.mark.parametrize("case", SILENT)
async def test_late_output_is_waited_for(world, case):
    status, fields = SILENT[case]
    provider = world.provider()
    await world.submitted()
    late = ended(world, status, **fields)
    counted = {"total": 2, "completed": 2}
    provider.batches["batch_1"] = [
        late,
        late.model_copy(update={"output_file_id": "out", "request_counts": None}),
        ended(world, status, output_file_id="out", request_counts=counted),
    ]
    provider.files["empty"] = [b""]
    event = await world.until_settled(world.tracker())
    assert (event.status, event.cost.total) == (status, COST)


@pytest.mark.parametrize("status", ["cancelled", "expired", "failed"])
@pytest.mark.parametrize(
    "fallen", [None, {"total": 0}, {"total": 3, "completed": 0}, {"total": 3, "completed": 0, "failed": 3}]
)
async def test_counts_that_fell_are_no_zero(world, status, fallen):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [
        world.batch(status="in_progress", request_counts={"total": 3, "completed": 2}),
        world.batch(status="in_progress", request_counts={"total": 3, "completed": 1}),
        ended(world, status, in_progress_at=None, request_counts=fallen),
    ]
    event = await world.until_settled(world.tracker())
    assert (event.status, event.cost.total) == (status, None)
    assert event.cost.unknown == {"output_unavailable": max((fallen or {}).get("completed", 0), 1)}


@pytest.mark.parametrize("case", SILENT)
async def test_output_that_never_comes_is_zero_only_by_word(world, case):
    status, fields = SILENT[case]
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [ended(world, status, **fields)]
    provider.files["empty"] = [b""]
    event = await world.until_settled(world.tracker())
    said = case in {"expired, none of two", "cancelled before it started"}
    assert (event.status, event.cost.total) == (status, 0 if said else None)
    assert bool(event.cost.unknown) is not said


@pytest.mark.parametrize("status", ["expired", "failed"])
async def test_output_shorter_than_earlier_counts_is_a_lower_bound(world, status):
    provider = world.provider()
    await world.submitted()
    provider.files["out"] = [world.line("a")]
    provider.batches["batch_1"] = [
        world.batch(status="in_progress", request_counts={"total": 3, "completed": 2}),
        ended(world, status, output_file_id="out", request_counts={"total": 3, "completed": 1}),
    ]
    event = await world.until_settled(world.tracker())
    assert (event.cost.total, event.cost.known) == (None, COST / 2)
    assert event.cost.unknown == {"lines_missing": 1}


@pytest.mark.parametrize("first", ["given up", "expired"])
async def test_output_listed_after_the_settlement_is_a_revision(world, first):
    provider = world.provider()
    keeper = world.logger()
    await world.submitted()
    if first == "given up":
        early, late = ended(world, "completed"), world.batch()
    else:
        early = ended(world, "expired", request_counts={"total": 2, "failed": 2}, error_file_id="err")
        late = ended(
            world, "expired", output_file_id="out", error_file_id="err", request_counts={"total": 2, "completed": 2}
        )
    provider.files["err"] = [world.error_line("a", "batch_expired") + world.error_line("b", "batch_expired")]
    provider.batches["batch_1"] = [early]
    tracker = world.tracker()
    await world.until_settled(tracker)
    for _ in range(2):  # by whoever retrieves it
        await tracker.shown(provider, late)
        await tracker.shown(provider, early)
        await tracker.idle()

    settlement, _ = await world.ledger.settlement("batch_1")
    assert (settlement.revision, settlement.cost.total) == (2, COST)
    assert settlement.batch.output_file_id == "out"
    await world.deliverer().drain(5)
    assert [(event.revision, event.cost.total) for event in keeper.events[1:]] == [
        (1, None if first == "given up" else 0),
        (2, COST),
    ]
    assert (await world.ledger.owner_of("out")).account == "openai"


@pytest.mark.parametrize("looks", range(1, len(LATE_LOOKS) + 1))
async def test_tracker_alone_finds_late_output(world, looks):
    """Nobody retrieves it: a tracker looks after a quarter of an hour, an hour, six hours and a day; always a new one."""
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [ended(world, "completed")]
    tracker = world.tracker()
    await world.until_settled(tracker)
    settled_at = world.clock.now
    for number, seconds in enumerate(LATE_LOOKS, 1):
        asked = provider.count("retrieve")
        world.clock.now = settled_at + int(seconds * 1000) - 1
        await world.tracker().once()
        assert provider.count("retrieve") == asked, "not due yet"
        if number == looks:
            provider.batches["batch_1"] = [world.batch()]
        world.clock.advance(1)
        await world.tracker().once()
        revision = (await world.ledger.settlement("batch_1"))[0].revision
        assert revision == (2 if number >= looks else 1)


async def test_late_output_is_looked_for_in_an_outage_too(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [ended(world, "completed")]
    tracker = world.tracker()
    await world.until_settled(tracker)
    provider.batches["batch_1"] = [world.broken(), world.batch()]
    for seconds in LATE_LOOKS[:2]:
        world.clock.advance(seconds)
        await tracker.once()
        await tracker.idle()
    assert (await world.ledger.settlement("batch_1"))[0].revision == 2
    calls = provider.count("retrieve")
    world.clock.advance(LATE_LOOKS[-1])
    await tracker.once()
    assert provider.count("retrieve") == calls, "found: no more looks"


@pytest.mark.parametrize("first", ["broken", "cut short"])
async def test_late_output_that_cannot_be_read_is_tried_by_the_next_look(world, first):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [ended(world, "completed")]
    tracker = world.tracker()
    await world.until_settled(tracker)
    unreadable = world.broken() if first == "broken" else world.line("a")
    provider.files["out"] = [unreadable, world.line("a") + world.line("b")]
    for _ in range(2):
        await tracker.shown(provider, world.batch())
        await tracker.idle()
    settlement, _ = await world.ledger.settlement("batch_1")
    assert (settlement.revision, settlement.cost.total) == (2, COST)


async def test_listed_file_that_breaks_off_is_looked_for_again(world):
    """The look that finds it cannot read it: the next one does."""
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [ended(world, "completed")]
    await world.until_settled(world.tracker())
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [world.broken(), world.line("a") + world.line("b")]
    for seconds, revision in ((LATE_LOOKS[0], 1), (LATE_LOOKS[1] - LATE_LOOKS[0], 2)):
        world.clock.advance(seconds)
        await world.tracker().once()
        assert (await world.ledger.settlement("batch_1"))[0].revision == revision
