"""Calendar periods in a time zone: the one that a moment is in, whatever its days are long."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

PeriodName = Literal["day", "week", "month", "total"]
DECEMBER = 12


@dataclass(frozen=True, slots=True)
class Period:
    """Epoch milliseconds."""

    start: int
    end: int | None
    """None: it has no end."""


def period_of(name: PeriodName, timezone: str, millis: int) -> Period:
    """A day may have 23 or 25 hours; a week begins on Monday."""
    if name == "total":
        return Period(0, None)
    zone = ZoneInfo(timezone)
    day = datetime.fromtimestamp(millis / 1000, zone).date()
    if name == "day":
        first, after = day, day + timedelta(days=1)
    elif name == "week":
        first = day - timedelta(days=day.weekday())
        after = first + timedelta(days=7)
    else:
        first = day.replace(day=1)
        after = date(day.year + 1, 1, 1) if day.month == DECEMBER else date(day.year, day.month + 1, 1)
    return Period(_midnight(first, zone), _midnight(after, zone))


def _midnight(day: date, zone: ZoneInfo) -> int:
    """The moment at which the day begins, also where the clock is put forward at midnight."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def instant(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC)


def iso(millis: int) -> str:
    return instant(millis).isoformat().replace("+00:00", "Z")
