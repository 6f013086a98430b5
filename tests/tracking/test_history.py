"""The completion times of a kind of batch decide when it is looked at."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmeter.models import Batch
from batchmeter.rounds.durations import FEWEST, Durations, Histories, History, durations_of
from batchmeter.tracker.schedule import Pace, next_look

NOW = 1_790_000_000.0
PACE = Pace()


def still():
    return 0.0


def aged(seconds, status="in_progress", left=None):
    expires = None if left is None else int(NOW + left)
    return Batch(id="b", status=status, created_at=int(NOW - seconds), expires_at=expires)


def hours(*kinds, each=100):
    """Durations around so many hours, give or take a tenth."""
    chance = random.Random(1)
    return [hour * 3600 * chance.uniform(0.9, 1.1) for hour in kinds for _ in range(each)]


def wait(age, history, **given):
    return next_look(aged(age), NOW, still, history=history, **given)


def test_nothing_is_asked_often_before_the_first_could_have_ended():
    history = History.of(hours(4))
    assert wait(60, history) == PACE.unlikely
    assert wait(60, None) == PACE.shortest
    assert wait(3.55 * 3600, history) < 300 < PACE.unlikely


def test_a_look_is_due_when_endings_become_likely_not_long_after():
    history = History.of(hours(4))
    first = min(hours(4))
    age = first - 500
    assert 500 < wait(age, history) < 650


def test_looks_are_close_where_many_end_and_rare_between_two_kinds():
    history = History.of(hours(0.2, 6))
    often, rarely, again = wait(700, history), wait(2 * 3600, history), wait(6 * 3600, history)
    assert often < 40
    assert rarely > 500
    assert again < 120


def test_a_listed_batch_is_not_left_alone_long_once_its_kind_ends():
    history = History.of(hours(0.2, 6))
    assert wait(2 * 3600, history, together=True) == PACE.together < wait(2 * 3600, history)
    assert wait(60, history, together=True) == wait(60, history) > PACE.together
    assert wait(6 * 3600, history, together=True) == wait(6 * 3600, history)


def test_the_deadline_is_looked_at_whatever_history_says():
    history = History.of(hours(30))
    assert next_look(aged(85_000, left=100), NOW, still, history=history) == 160


def test_what_is_about_to_end_is_looked_at_soon_whatever_history_says():
    history = History.of(hours(30))
    assert next_look(aged(100, "finalizing"), NOW, still, history=history) == PACE.closing


def test_older_than_any_of_its_kind_is_looked_at_by_its_age():
    history = History.of(hours(1))
    assert wait(2 * 3600, history) == PACE.longest


@given(
    durations=st.lists(st.floats(0, 10**6), min_size=FEWEST, max_size=200),
    age=st.floats(0, 2 * 10**6),
    patience=st.floats(0.1, 10),
)
def test_a_wait_is_never_in_the_past_and_a_patient_one_never_shorter(durations, age, patience):
    history = History.of(durations)
    assert history is not None
    seconds, longer = history.wait(age, patience), history.wait(age, patience * 2)
    assert (seconds is None) == (age >= max(durations))
    if seconds is not None:
        assert 0 <= seconds <= longer + 1e-6 <= max(durations) - age + 2e-6


def test_a_look_follows_the_work_that_history_gives_it():
    """Twice the looks a second where the chance to end now is four times as great."""
    early_kind, late_kind = range(1000, 2000, 2), range(2000, 6000, 8)
    history = History.of([float(seconds) for seconds in (*early_kind, *late_kind)])
    hazard_early, hazard_late = 0.5 / 1000 / 0.75, 0.5 / 4000 / 0.4625
    early, late = history.wait(1500, 0.3), history.wait(2300, 0.3)
    assert late / early == pytest.approx((hazard_early / hazard_late) ** 0.5, rel=0.1)


def test_a_model_with_too_few_endings_is_judged_by_its_account():
    durations = Durations()
    for seconds in hours(4, each=FEWEST - 1):
        durations.add("openai", {"gpt-4o"}, seconds)
    assert durations.of("openai", "gpt-4o") is None
    durations.add("openai", {"gpt-4o-mini"}, 4 * 3600)
    assert durations.of("openai", "gpt-4o") is durations.of("openai", None) is not None
    assert durations.of("openai", "gpt-4o-mini") is durations.of("openai", None)
    assert durations.of("azure", "gpt-4o") is None
    durations.add("openai", {"gpt-4o"}, 4 * 3600)
    own = durations.of("openai", "gpt-4o")
    assert own is not None
    assert own is not durations.of("openai", None)


async def test_durations_come_from_the_ledger_and_from_what_is_settled_here(world):
    provider = world.provider()
    for number in range(FEWEST + 2):
        name = f"batch_{number}"
        await world.submitted(name)
        provider.batches[name] = [world.batch(name)]
    tracker = world.tracker()
    await tracker.once()
    own = durations_of(tracker.timetable).of("openai", "gpt-4o-mini")
    assert own is not None
    assert own.ages[0] == own.ages[-1] == 100
    world.clock.advance(60)
    other = world.tracker()
    assert durations_of(other.timetable).of("openai", "gpt-4o-mini") is None
    await other.upkeep["histories"]()
    assert durations_of(other.timetable).of("openai", "gpt-4o-mini") == own
    await world.submitted("new", created_at=world.clock.now // 1000)
    provider.batches["new"] = [world.batch("new", "in_progress", created_at=world.clock.now // 1000)]
    await other.once()
    tracked = await world.ledger.get_batch("new")
    assert tracked.next_poll_at - world.clock.now > 90_000  # not after 15 s: none has ended before 100 s


@pytest.fixture
def reads(world, monkeypatch):
    """How many settlements were asked for, each time."""
    limits = []
    settlements = world.ledger.settlements

    async def counted(**given):
        limits.append(given["limit"])
        return await settlements(**given)

    monkeypatch.setattr(world.ledger, "settlements", counted)
    return limits


async def test_what_one_probe_has_read_no_other_reads_again(world, reads):
    provider = world.provider()
    for number in range(60):
        await world.submitted(f"batch_{number}")
        provider.batches[f"batch_{number}"] = [world.batch(f"batch_{number}")]
    await world.tracker().once()
    world.clock.advance(60)
    histories = Histories(world.ledger, Durations())
    await histories.refresh()
    assert histories.durations.of("openai", "gpt-4o-mini") is not None
    assert sum(reads) <= 100, "three pages, not sixteen times as many"


async def test_a_reread_is_rare_and_bounded(world, reads):
    histories = Histories(world.ledger, Durations())
    for _ in range(10):
        await histories.refresh()
    first = len(reads)
    assert first > 0
    assert sum(reads) <= 4000
    assert max(reads) <= 25, "nobody waits long behind one of them"
    world.clock.advance(1801)
    await histories.refresh()
    assert len(reads) > first
    assert sum(reads) <= 8000
