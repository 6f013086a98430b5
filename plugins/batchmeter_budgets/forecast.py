"""The forecast of a period at its present pace: each weekday goes on as it went so far."""

from collections import defaultdict
from collections.abc import Mapping

from .periods import Period

DAY = 86_400_000
WEEK = 7
FEWEST = 2
"""Whole days from which there is a pace."""


def projection(period: Period, now: int, days: Mapping[int, int]) -> int | None:
    """`days`: days since the period began -> what was taken on them. None where it is too early, or has no end."""
    if period.end is None:
        return None
    whole = int((now - period.start) // DAY)
    length = -(-(period.end - period.start) // DAY)
    if whole < FEWEST or whole >= length:
        return None
    past = [days.get(day, 0) for day in range(whole)]
    usual = sum(past) / whole
    by_weekday: defaultdict[int, list[int]] = defaultdict(list)
    for day, spend in enumerate(past):
        by_weekday[day % WEEK].append(spend)
    today = max(days.get(whole, 0), round(_mean(by_weekday[whole % WEEK], usual)))
    ahead = sum(_mean(by_weekday[day % WEEK], usual) for day in range(whole + 1, length))
    return sum(past) + today + round(ahead)


def days_left(period: Period, now: int) -> int:
    """Days that are not over yet, today among them."""
    assert period.end is not None
    return max(-(-(period.end - now) // DAY), 0)


def _mean(spends: list[int], usual: float) -> float:
    return sum(spends) / len(spends) if spends else usual
