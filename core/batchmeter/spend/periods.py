"""Periods that sums are of: UTC days, ISO weeks and months, as numbers since 1970, and a time cut into whole ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from batchmeter.ledger.session import Millis

DAY_MILLIS = 86_400_000
TIMES = ("day", "week", "month")
MONDAY = 3
"""Days since 1970 and so many more, divided by 7, are weeks that begin on Mondays."""
_EPOCH = date(1970, 1, 1)
_LAST_DAY = (date(9999, 12, 31) - _EPOCH).days


def month_of(day: int) -> int:
    found = _EPOCH + timedelta(days=day)
    return (found.year - 1970) * 12 + found.month - 1


def first_day(month: int) -> int:
    return (date(1970 + month // 12, month % 12 + 1, 1) - _EPOCH).days


def period_of(name: str, day: int) -> int:
    """The number of the day, week or month that a day is in."""
    return day if name == "day" else (day + MONDAY) // 7 if name == "week" else month_of(day)


def shown(name: str, number: int) -> str:
    """`2026-11-22`, `2026-W47` or `2026-11`."""
    if name == "month":
        return f"{1970 + number // 12}-{number % 12 + 1:02}"
    if name == "week":
        year, week, _ = (_EPOCH + timedelta(days=number * 7 - MONDAY)).isocalendar()
        return f"{year}-W{week:02}"
    return (_EPOCH + timedelta(days=number)).isoformat()


@dataclass(frozen=True, slots=True)
class Segment:
    """Whole days or months, first to last."""

    months: bool
    first: int
    last: int


def segments(since: Millis | None, until: Millis | None, *, by_day: bool) -> Iterator[Segment]:
    """The whole days of a time, `by_day` as such, else as months where they are whole months."""
    first, end = whole_days(since, until)
    if first >= end:
        return
    month = month_of(first) if first_day(month_of(first)) == first else month_of(first) + 1
    last = month_of(end)
    if by_day or month > last:  # all in one month
        yield Segment(False, first, end - 1)
        return
    for months, begin, stop in ((False, first, first_day(month)), (True, month, last), (False, first_day(last), end)):
        if begin < stop:
            yield Segment(months, begin, stop - 1)


def edges(since: Millis | None, until: Millis | None) -> Iterator[tuple[Millis | None, Millis | None]]:
    """Parts of days that the time begins or ends in, from and to."""
    first, end = (number * DAY_MILLIS for number in whole_days(since, until))
    if since is not None and until is not None and first > end:
        if since < until:
            yield since, until
        return
    if since is not None and 0 <= since < first:
        yield since, first
    if until is not None and end < until < _LAST_DAY * DAY_MILLIS:
        yield end, until


def whole_days(since: Millis | None, until: Millis | None) -> tuple[int, int]:
    """The first whole day, and the day after the last."""
    first = 0 if since is None else -(-since // DAY_MILLIS)
    end = _LAST_DAY if until is None else until // DAY_MILLIS
    return max(first, 0), min(end, _LAST_DAY)
