"""How often an ending that cannot be read is tried again, and that it comes to an end whatever the answers are."""

import itertools

import pytest

from batchmeter.errors import NotFoundError
from batchmeter.ledger.records import Attempts
from batchmeter.tracker.schedule import PATIENCE, exhausted, one_more

NOW = 1_790_000_000_000
DAY = 86_400


def test_attempts_are_counted_by_trouble():
    first = one_more((), "output_not_listed", NOW)
    second = one_more(first, "output_not_listed", NOW + 30_000)
    assert second == (Attempts("output_not_listed", NOW, 2, NOW + 30_000),)
    third = one_more(second, "output_broken", NOW + 40_000)
    assert third[0] == Attempts("output_broken", NOW + 40_000, 1, NOW + 40_000)
    fourth = one_more(third, "output_not_listed", NOW + 50_000)
    assert fourth == (Attempts("output_not_listed", NOW, 3, NOW + 50_000), third[0])
    assert str(fourth[0]) == "output_not_listed: look 3 since 2026-09-21T14:13:20.000Z"


async def test_attempts_have_a_column_that_errors_of_the_account_leave_alone(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [
        world.batch(output_file_id=None),
        world.rate_limited(1),
        world.batch(status="in_progress"),
    ]
    tracker = world.tracker()
    await tracker.once()
    kept = (await world.ledger.get_batch("batch_1")).attempts
    assert [(one.trouble, one.looks) for one in kept] == [("output_not_listed", 1)]
    world.clock.advance(60)
    await tracker.once()
    tracked = await world.ledger.get_batch("batch_1")
    assert (tracked.attempts, tracked.last_error) == (kept, "RateLimitError: slow down")


@pytest.mark.parametrize("trouble", sorted(PATIENCE))
def test_patience_needs_both_its_looks_and_its_time(trouble):
    patience = PATIENCE[trouble]
    until = NOW + round(patience.seconds * 1000)
    assert not exhausted(Attempts(trouble, NOW, patience.looks), until - 1000)
    assert not exhausted(Attempts(trouble, NOW, patience.looks - 1), until + 1000)
    assert exhausted(Attempts(trouble, NOW, patience.looks), until)


def test_a_batch_nobody_knows_is_given_up_only_well_past_its_deadline():
    attempts, second = Attempts("batch_not_found", NOW, 500), NOW // 1000
    assert not exhausted(attempts, NOW + 50_000_000, expires_at=second + 50_000)
    assert exhausted(attempts, NOW + 54_000_000, expires_at=second + 50_000)
    assert not exhausted(attempts, NOW + 3_000_000, expires_at=second - 10**6)
    assert exhausted(attempts, NOW + 4_000_000, expires_at=second - 10**6)


def gone():
    return NotFoundError("it is not here", status_code=404)


async def settled_after(world, most=3000):
    """Its ending, and the days until then."""
    began = world.clock.now
    event = await world.until_settled(world.tracker(), most=most)
    return event, (world.clock.now - began) / 1000 / DAY


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (lambda world: world.broken(), "output_unavailable"),
        (lambda world: (world.line("a"), 10_000), "output_unavailable"),
        (lambda world: world.rate_limited(1), "output_unavailable"),
        (lambda world: world.line("a"), "lines_missing"),
    ],
    ids=["5xx", "cut", "429", "a line short"],
)
async def test_an_output_that_is_there_now_and_then_ends(world, other, reason):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = list(itertools.islice(itertools.cycle([gone(), other(world)]), 3001))
    event, days = await settled_after(world)
    assert set(event.cost.unknown) == {reason}
    assert days < 8
    assert provider.count("content") < 400


@pytest.mark.parametrize("other", ["broken", "rate_limited"])
async def test_a_forgotten_batch_ends_though_its_provider_has_other_trouble(world, other):
    provider = world.provider()
    await world.submitted()
    trouble = world.broken() if other == "broken" else world.rate_limited(1)
    provider.batches["batch_1"] = list(itertools.islice(itertools.cycle([gone(), gone(), trouble]), 3001))
    event, days = await settled_after(world)
    assert event.notes == ("batch_unavailable",)
    assert days < 2


async def test_a_seen_ending_is_settled_though_the_batch_is_forgotten_since(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(), gone()]
    provider.files["out"] = [world.line("a")]
    event, days = await settled_after(world)
    assert (event.type, event.cost.unknown) == ("batch_success", {"lines_missing": 1})
    assert 1 < days < 1.1, "for as long as it may only seem forgotten, there may be more to read"


async def test_an_unlisted_output_ends_though_the_batch_is_forgotten_since(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(output_file_id=None), gone()]
    event, days = await settled_after(world)
    assert (event.type, event.cost.unknown) == ("batch_success", {"output_unavailable": 2})
    assert 1 < days < 1.1


async def test_a_step_that_fails_by_a_bug_is_told_and_tried_rarely(world, caplog):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    tracker = world.tracker()
    ledger_settle = world.ledger.settle
    failures = iter(range(5))

    async def fails(*given, **more):
        if next(failures, None) is not None:
            raise ZeroDivisionError("a bug of ours")
        return await ledger_settle(*given, **more)

    world.ledger.settle = fails
    await tracker.once()
    tracked = await world.ledger.get_batch("batch_1")
    assert tracked.last_error == "ZeroDivisionError: a bug of ours"
    assert "Traceback" in caplog.text
    began = world.clock.now
    await world.until_settled(tracker)
    assert world.clock.now - began > 60_000, "later each time"


DAYS = 5 * 24 * 3_600_000


def looks(trouble, times):
    attempts = ()
    for at in times:
        attempts = one_more(attempts, trouble, at)
    return attempts[0]


@pytest.mark.parametrize("trouble", PATIENCE)
@pytest.mark.parametrize("expires_at", [None, NOW // 1000 - 60])
def test_a_clock_that_jumps_ahead_uses_up_no_patience(trouble, expires_at):
    patience = PATIENCE[trouble]
    step = round(patience.longest * 1000)
    before = [NOW + step * number for number in range(patience.looks)]
    later = before[-1] + 2 * step
    steady = exhausted(looks(trouble, [*before, later]), later, expires_at=expires_at)
    jumped = before[-1] + DAYS + step
    assert exhausted(looks(trouble, [*before, jumped]), jumped, expires_at=expires_at) <= steady
    back = looks(trouble, [*before, jumped, before[-1] + 2 * step])
    assert (back.since, back.jump) == (NOW, 0), "the clock was set right again"
    enough = NOW + 8 * 24 * 3_600_000
    every = range(NOW, enough, max(step, (enough - NOW) // 2000))
    assert exhausted(looks(trouble, every), enough, expires_at=expires_at), "patience ends all the same"


def test_trouble_first_met_under_a_fast_clock_ends_in_its_time():
    attempts = looks("output_not_found", [NOW + DAYS, *range(NOW, NOW + 130_000, 10_000)])
    assert attempts.since <= NOW
    assert exhausted(attempts, NOW + 130_000)
