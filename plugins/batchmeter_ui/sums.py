"""Sums for the pages, as far as the caller may see them: from the ledger's own sums, never from settlements."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from batchmeter.access import UnknownCost

from .span import Span
from .view import View

DIMENSIONS = ("model", "account", "team", "key", "user", "tag", "provider")


@dataclass(frozen=True, slots=True)
class Sum:
    """Some batches together."""

    group: tuple[str | None, ...]
    batches: int = 0
    lines: int = 0
    unpriced: int = 0
    """Lines whose cost is unknown."""
    known: Decimal = Decimal(0)
    complete: bool = True

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(
            self.group,
            self.batches + other.batches,
            self.lines + other.lines,
            self.unpriced + other.unpriced,
            self.known + other.known,
            self.complete and other.complete,
        )


_TIMES: Mapping[str, Callable[[date], str]] = {
    "day": date.isoformat,
    "week": lambda day: f"{day.isocalendar().year}-W{day.isocalendar().week:02}",
    "month": lambda day: f"{day:%Y-%m}",
}


async def spend(view: View, by: Sequence[str], span: Span) -> list[Sum]:
    """By one of `DIMENSIONS`, and by day, week or month; the highest known first."""
    since, until = _ends(span)
    thing = next((name for name in by if name not in _TIMES), "")
    found: dict[tuple[str | None, ...], Sum] = {}
    for row in await view.access.spend_of_days(thing, view.own(), since=since, until=until):
        group = tuple(_TIMES[name](row.day) if name in _TIMES else row.name or None for name in by)
        one = Sum(group, row.batches, row.lines, row.unpriced, row.known, row.complete)
        found[group] = found[group] + one if group in found else one
    return sorted(found.values(), key=lambda one: (-one.known, tuple(name or "" for name in one.group)))


async def unknown_costs(view: View, span: Span) -> list[UnknownCost]:
    since, until = _ends(span)
    return await view.access.unknown_costs(view.own(), since=since, until=until)


def _ends(span: Span) -> tuple[int, int]:
    """Epoch milliseconds: the first day's begin and the last one's end."""
    return _begin(span.first), _begin(span.last + timedelta(days=1))


def _begin(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
