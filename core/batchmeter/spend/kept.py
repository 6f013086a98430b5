"""Sums kept in memory: those of all days but the few that change, which are read again after each change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from batchmeter.ledger.session import Database, Session

from .query import Found, SpendQuery, add_figures, sums_of_days
from .report import Made
from .rolling import ALL_DAYS

MOST_GROUPS = 5_000
"""Groups that are kept: some 10 MB."""
HOT_DAYS = 2
"""The days that changed last: today's, and yesterday's at midnight."""


class Summed(NamedTuple):
    """The sums of a query."""

    found: Found
    made: Made
    """Rows made of them earlier."""


class Moment(NamedTuple):
    """A state of the sums."""

    changes: int
    strange: int
    """Changes that did not say which days they changed: of a release that does not know how."""


@dataclass(slots=True)
class Base:
    """The sums of a query but for its hot days."""

    at: Moment
    hot: frozenset[int]
    found: Found
    made: Made = field(default_factory=Made)

    def holds(self, now: Moment, days: range, touched: Mapping[int, int]) -> bool:
        """Whether what has changed since is of its hot days, or of days that the query does not have."""
        if self.at.strange != now.strange:
            return False
        changed = {day for day, changes in touched.items() if changes > self.at.changes}
        return ALL_DAYS not in changed and all(day in self.hot or day not in days for day in changed)


_Bases = Mapping[object, Base]


class KeptSums:
    """Sums of queries of whole days, exact whichever process changes them."""

    def __init__(self) -> None:
        self._bases: dict[object, Base] = {}

    async def read(self, database: Database, queries: Sequence[SpendQuery]) -> list[Summed]:
        """All as of one moment."""
        bases = {key: self._bases[key] for key in (one.key for one in queries) if key in self._bases}
        warm = await database.read(partial(_with_hot_days, queries, bases))
        if warm is not None:
            return warm
        async with database.snapshot() as reader:  # long, while SQLite's one thread is free for the ledger's work
            found, new = await reader.read(partial(_with_new_bases, queries, bases))
        self._keep(new)
        return found

    def _keep(self, new: _Bases) -> None:
        for key, base in new.items():
            self._bases.pop(key, None)
            if len(base.found) <= MOST_GROUPS:
                self._bases[key] = base
        groups = sum(len(base.found) + 1 for base in self._bases.values())
        while groups > MOST_GROUPS:
            oldest = next(iter(self._bases))
            groups -= len(self._bases.pop(oldest).found) + 1


async def _with_hot_days(queries: Sequence[SpendQuery], bases: _Bases, session: Session) -> list[Summed] | None:
    """None where a base is lacking or no longer holds, or where the sums changed meanwhile."""
    if any(one.key not in bases for one in queries):
        return None
    now, touched = await _moment(session), await _touched(session, bases)
    if not all(bases[one.key].holds(now, one.days, touched) for one in queries):
        return None
    found = await _completed(session, queries, bases)
    return found if await _moment(session) == now else None


async def _with_new_bases(
    queries: Sequence[SpendQuery], bases: _Bases, session: Session
) -> tuple[list[Summed], _Bases]:
    now, touched = await _moment(session), await _touched(session, bases)
    lacking = {
        one.key: one for one in queries if one.key not in bases or not bases[one.key].holds(now, one.days, touched)
    }
    last = [row["period"] for row in await session.rows("spend_touched_last", limit=HOT_DAYS)]
    hot = {key: frozenset(day for day in last if day in one.days) for key, one in lacking.items()}
    sums = await _read(session, {key: (one, _between(one.days, hot[key])) for key, one in lacking.items()})
    new = {key: Base(now, hot[key], found) for key, found in sums.items()}
    return await _completed(session, queries, {**bases, **new}), new


async def _completed(session: Session, queries: Sequence[SpendQuery], bases: _Bases) -> list[Summed]:
    """With the hot days."""
    days = {one.key: (one, [range(day, day + 1) for day in sorted(bases[one.key].hot)]) for one in queries}
    hot = await _read(session, days)
    found: list[Summed] = []
    for one in queries:
        base, sums = bases[one.key], hot[one.key]
        for names, figures in base.found.items():
            if names in sums:
                add_figures(sums, names, figures)
        whole = {**base.found, **sums}
        found.append(Summed({names: each for names, each in whole.items() if each.get("batches")}, base.made))
    return found


async def _read(session: Session, wanted: Mapping[object, tuple[SpendQuery, Sequence[range]]]) -> dict[object, Found]:
    """The sums of some of a query's days."""
    parts = [(key, query.of_days(days)) for key, (query, ranges) in wanted.items() for days in ranges]
    found: dict[object, Found] = {key: {} for key in wanted}
    for (key, _), sums in zip(parts, await sums_of_days(session, [part for _, part in parts]), strict=True):
        for names, figures in sums.items():
            add_figures(found[key], names, figures)
    return found


def _between(days: range, holes: Iterable[int]) -> list[range]:
    """The days without the holes."""
    found: list[range] = []
    begin = days.start
    for hole in (*sorted(holes), days.stop):
        if begin < hole:
            found.append(range(begin, hole))
        begin = hole + 1
    return found


async def _moment(session: Session) -> Moment:
    row = await session.row("spend_state")
    assert row is not None
    return Moment(row["changes"], row["changes"] - row["noted"])


async def _touched(session: Session, bases: _Bases) -> dict[int, int]:
    """Day -> the change that last changed it, of those since the oldest base."""
    after = min((base.at.changes for base in bases.values()), default=None)
    if after is None:
        return {}
    return {row["period"]: row["changes"] for row in await session.rows("spend_touched", after=after)}
