"""The time that an export is about: a month, or UTC days from one to another."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from batchmeter.errors import UsageError

_MONTH = re.compile(r"(\d{4})-(\d{2})")


@dataclass(frozen=True, slots=True)
class Span:
    """Whole UTC days, of which `until` is the first after them; None is open."""

    since: date | None
    until: date | None

    @property
    def name(self) -> str:
        """`2026-11` for a month, `2026-11-01_2026-11-10` for days, `all`."""
        if self.since is None and self.until is None:
            return "all"
        if self.since and self.until and self.since.day == 1 and self.until == next_month(self.since):
            return f"{self.since:%Y-%m}"
        last = self.until - timedelta(days=1) if self.until else None
        return f"{self.since or ''}_{last or ''}"

    @property
    def millis(self) -> tuple[int | None, int | None]:
        return tuple(None if day is None else _millis(day) for day in (self.since, self.until))  # type: ignore[return-value]

    def has(self, day: date) -> bool:
        return (self.since is None or day >= self.since) and (self.until is None or day < self.until)


def span_of(month: str | None, since: str | None, until: str | None) -> Span:
    """`2026-11`, or dates of which `until` is the last; UsageError that says how to write them."""
    if month:
        if since or until:
            raise UsageError("a month and dates together: give --month, or --from and --to")
        return _month(month)
    first, last = _date(since), _date(until)
    if first and last and last < first:
        raise UsageError(f"{since} to {until} is no time: the first date comes after the last")
    return Span(first, None if last is None else last + timedelta(days=1))


def _month(text: str) -> Span:
    found = _MONTH.fullmatch(text)
    try:
        first = date(int(found[1]), int(found[2]), 1) if found else None
    except ValueError:
        first = None
    if first is None or first.year == date.max.year:
        raise UsageError(f"{text!r} is not a month: write 2026-11")
    return Span(first, next_month(first))


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"{text!r} is not a date: write 2026-11-22") from None


def next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def _millis(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def day_of(millis: int) -> date:
    return datetime.fromtimestamp(millis / 1000, UTC).date()
