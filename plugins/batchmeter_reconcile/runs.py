"""Runs of days: the shortest ones whose edges no batch crosses, so that sums over them have to agree exactly."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from .ours import Window

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Run:
    """Days that are judged together, the last one included."""

    first: date
    last: date
    whole: bool = True
    """False: a batch crosses the edge of the days that were asked for, so that only bounds are known."""

    @property
    def days(self) -> list[date]:
        return [self.first + DAY * number for number in range((self.last - self.first).days + 1)]

    def touches(self, first: date, last: date) -> bool:
        return self.first <= last and self.last >= first

    def has(self, window: Window) -> bool:
        """Of windows that begin or end in the known days."""
        return window.first <= self.last and window.last >= self.first


def runs(windows: Iterable[Window], days: Collection[date], first: date, last: date) -> list[Run]:
    """Runs that cover all windows and days, in order; `first` and `last`: the days that are known of the vendor."""
    spans = sorted({*((one.first, one.last) for one in windows), *((day, day) for day in days)})
    joined: list[tuple[date, date]] = []
    for begin, end in spans:
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return [
        Run(max(begin, first), min(end, last), whole=first <= begin and end <= last)
        for begin, end in joined
        if begin <= last and end >= first
    ]
