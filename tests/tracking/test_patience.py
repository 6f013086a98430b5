"""How often an ending that cannot be read is tried again, and that it comes to an end whatever the answers are."""

import itertools

import pytest

from batchmeter.errors import NotFoundError
from batchmeter.tracking.patience import PATIENCE, Attempt, Attempts

NOW = 1_790_000_000.0
DAY = 86_400


def test_attempts_are_counted_through_the_text_that_the_ledger_keeps():
    first = Attempts.of("APITimeoutError: no answer").met("output_not_listed", NOW)
    second = Attempts.of(first.text("nothing yet: really")).met("output_not_listed", NOW + 30)
    assert second.each == (Attempt("output_not_listed", NOW, 2),)
    third = Attempts.of(second.text("x")).met("output_broken", NOW + 40)
    assert third.newest == Attempt("output_broken", NOW + 40)
    fourth = Attempts.of(third.text("output_not_found: look 9 since 2026-01-01T00:00:00Z")).met(
        "output_not_listed", NOW
    )
    assert fourth.each == (Attempt("output_not_listed", NOW, 3), Attempt("output_broken", NOW + 40))


@pytest.mark.parametrize("text", [None, "", "RateLimitError: slow down", "other: look 1 since 2026-01-01T00:00:00Z: x"])
def test_other_text_counts_nothing_and_stays_as_it_is(text):
    assert Attempts.of(text).newest is None
    assert Attempts.of(text).text("RateLimitError: slow down") == "RateLimitError: slow down"


@pytest.mark.parametrize("trouble", sorted(PATIENCE))
def test_patience_needs_both_its_looks_and_its_time(trouble):
    patience = PATIENCE[trouble]
    assert not Attempt(trouble, NOW, patience.looks).exhausted(NOW + patience.seconds - 1)
    assert not Attempt(trouble, NOW, patience.looks - 1).exhausted(NOW + patience.seconds + 1)
    assert Attempt(trouble, NOW, patience.looks).exhausted(NOW + patience.seconds)


def test_a_batch_nobody_knows_is_given_up_only_well_past_its_deadline():
    attempt = Attempt("batch_not_found", NOW, 500)
    assert not attempt.exhausted(NOW + 50_000, expires_at=NOW + 50_000)
    assert attempt.exhausted(NOW + 54_000, expires_at=NOW + 50_000)
    assert not attempt.exhausted(NOW + 3000, expires_at=NOW - 10**6)
    assert attempt.exhausted(NOW + 4000, expires_at=NOW - 10**6)


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
async def test_a_forgotten_batch_ends_though_its_provider_is_in_other_trouble_too(world, other):
    provider = world.provider()
    await world.submitted()
    trouble = world.broken() if other == "broken" else world.rate_limited(1)
    provider.batches["batch_1"] = list(itertools.islice(itertools.cycle([gone(), gone(), trouble]), 3001))
    event, days = await settled_after(world)
    assert event.notes == ("batch_unavailable",)
    assert days < 2


async def test_an_ending_that_was_seen_is_settled_though_the_batch_is_forgotten_meanwhile(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(), gone()]
    provider.files["out"] = [world.line("a")]
    event, days = await settled_after(world)
    assert (event.type, event.cost.unknown) == ("batch_success", {"lines_missing": 1})
    assert 1 < days < 1.1, "for as long as it may only seem forgotten, there may be more to read"


async def test_an_output_that_was_never_listed_ends_though_the_batch_is_forgotten_meanwhile(world):
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
    settler, ledger_settle = tracker._follower.settler, world.ledger.settle
    failures = iter(range(5))

    async def fails(*given, **more):
        if next(failures, None) is not None:
            raise ZeroDivisionError("a bug of ours")
        return await ledger_settle(*given, **more)

    settler.ledger.settle = fails
    await tracker.once()
    tracked = await world.ledger.get_batch("batch_1")
    assert tracked.last_error == "ZeroDivisionError: a bug of ours"
    assert "Traceback" in caplog.text
    began = world.clock.now
    await world.until_settled(tracker)
    assert world.clock.now - began > 60_000, "later each time"
