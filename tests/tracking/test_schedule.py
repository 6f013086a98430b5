"""When to look again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmeter.calls.waiting import interactive
from batchmeter.models import Batch
from batchmeter.tracker.account_state import Breaker, Budget
from batchmeter.tracker.schedule import Pace, after_error, next_look

NOW = 1_790_000_000.0


def still(_=None):
    return 0.0


def aged(seconds, status="in_progress", left=None):
    expires = None if left is None else int(NOW + left)
    return Batch(id="b", status=status, created_at=int(NOW - seconds), expires_at=expires)


@pytest.mark.parametrize(
    ("batch", "seconds"),
    [
        (aged(0), 15),
        (aged(1000), 80),
        (aged(100_000), 300),
        (aged(100_000, "finalizing"), 20),
        (aged(100_000, "cancelling"), 20),
        (aged(100_000, "a_word_of_tomorrow"), 300),
        (Batch(id="b", status="in_progress"), 15),
        (aged(86_300, left=100), 160),
        (aged(86_390, left=10), 70),
        (aged(86_420, left=-20), 40),
        (aged(86_500, left=-100), 60),
        (aged(88_400, left=-2000), 160),
        (aged(200_000, left=-110_000), 300),
        (aged(100, "finalizing", left=-100), 20),
    ],
)
def test_the_next_look_follows_age_state_and_deadline(batch, seconds):
    assert next_look(batch, NOW, still) == seconds


@given(
    age=st.integers(-10_000, 10**7),
    left=st.none() | st.integers(-(10**6), 10**6),
    status=st.sampled_from(["validating", "in_progress", "finalizing", "cancelling", "new"]),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_a_look_is_never_in_the_past_nor_further_than_the_longest_wait(age, left, status, draw):
    pace = Pace()
    seconds = next_look(aged(age, status, left), NOW, lambda: draw)
    assert 0 < seconds <= pace.longest * (1 + pace.jitter)


@given(errors=st.integers(1, 10_000), draw=st.floats(0, 1, exclude_max=True), asked=st.none() | st.floats(0, 5000))
def test_errors_wait_longer_each_time_and_never_less_than_asked(errors, draw, asked):
    seconds = after_error(errors, lambda: draw, retry_after=asked)
    assert seconds >= (asked or 0)
    assert seconds <= max(600, (asked or 0) * 1.1)
    assert after_error(errors + 1, lambda: draw, retry_after=asked) >= seconds


def test_a_person_who_waits_sees_the_batch_soon_then_each_second_or_two():
    waits = [interactive(waited) for waited in (0, 0.5, 0.9, 10, 30, 100, 1000)]
    assert waits == [0.1, 0.6, 1, 1, 1.5, 5, 15]


def test_a_breaker_opens_after_failures_in_a_row_probes_and_closes():
    breaker = Breaker(lambda: 0.5, threshold=3, first=10)
    for _ in range(2):
        breaker.failure(0)
    breaker.success()
    for _ in range(3):
        assert breaker.pause_left(0) == 0
        breaker.failure(0)
    assert breaker.pause_left(9)
    assert breaker.pause_left(10) == 0
    assert breaker.probing
    breaker.failure(10)
    assert breaker.pause_left(29)
    assert breaker.pause_left(30) == 0
    breaker.success()
    assert breaker.pause_left(0) == 0
    assert not breaker.probing


def test_a_refusal_opens_a_breaker_at_once_for_as_long_as_it_says():
    breaker = Breaker(lambda: 0.5, threshold=3, first=10)
    breaker.failure(0, retry_after=90, at_once=True)
    assert breaker.pause_left(89)
    assert breaker.pause_left(90) == 0


async def test_a_budget_lets_a_burst_go_then_keeps_its_rate():
    now = [0.0]

    async def sleep(seconds):
        now[0] += seconds

    budget = Budget(lambda: now[0], sleep, most=10, burst=50)
    for _ in range(50):
        await budget.take()
    assert now[0] == 0
    for _ in range(100):
        await budget.take()
    assert 9.9 <= now[0] <= 10.3


async def test_a_refused_budget_halves_its_rate_and_creeps_back():
    now = [0.0]

    async def sleep(seconds):
        now[0] += seconds

    budget = Budget(lambda: now[0], sleep, most=10, burst=50)
    budget.refused()
    budget.refused()
    for _ in range(26):
        await budget.take()
    assert 9.9 <= now[0] <= 10.3
    for _ in range(100):
        budget.answered()
    assert budget.rate == 10
    for _ in range(20):
        budget.refused()
    assert budget.rate == 1
