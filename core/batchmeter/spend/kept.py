"""Sums kept in memory: those of all days but the few that change, which are read again after each change.

Where whole months are read, the month of such a day is read again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from batchmeter.ledger.session import Database, Session

from .query import Found, SpendQuery, add_figures, sums_of_days
from .report import Made
from .rolling import ALL_DAYS

MOST_GROUPS = 15_000
"""Groups that are kept, and names in filters: some 15 MB."""
MOST_OF_ONE = 12_000
"""The same of a query."""
MOST_MADE = 2_500
"""Groups of a query whose rows are kept too."""
HOT_DAYS = 2
"""The days that changed last: today's, and yesterday's at midnight."""


class Summed(NamedTuple):
    """The sums of a query."""

    found: Found
    made: Made | None
    """Rows made of them earlier; None where there are too many to keep."""


class Moment(NamedTuple):
    """A state of the sums."""

    changes: int
    strange: int
    """Changes that did not say which days they changed: of a release that does not know how."""


@dataclass(slots=True)
class Base:
    """The sums of a query but for its hot days."""

    at: Moment
    hot: Sequence[range]
    found: Found
    made: Made | None
    size: int

    def holds(self, now: Moment, days: range, touched: Mapping[int, int]) -> bool:
        """Whether what has changed since is of its hot days, or of days that the query does not have."""
        if self.at.strange != now.strange:
            return False
        changed = {day for day, changes in touched.items() if changes > self.at.changes}
        cold = (day for day in changed if day in days and not any(day in each for each in self.hot))
        return ALL_DAYS not in changed and not any(True for _ in cold)


_Bases = Mapping[object, Base]


class KeptSums:
    """Sums of queries of whole days, exact whichever process changes them."""

    def __init__(self) -> None:
        self._bases: dict[object, Base] = {}

    async def read(self, database: Database, queries: Sequence[SpendQuery], *, apart: bool = True) -> list[Summed]:
        """All as of one moment; `apart`: SQLite's one thread is free for the ledger's work meanwhile."""
        bases = {key: self._bases[key] for key in (one.key for one in queries) if key in self._bases}
        warm = await database.read(partial(_with_hot_days, queries, bases))
        if warm is not None:
            return warm
        work = partial(_with_new_bases, queries, bases)
        made = None if apart else await database.read(work)
        while made is None:
            async with database.snapshot() as reader:
                made = await reader.read(work)
        found, new = made
        self._keep(new)
        return found

    def _keep(self, new: _Bases) -> None:
        for key, base in new.items():
            self._bases.pop(key, None)
            if base.size <= MOST_OF_ONE:
                self._bases[key] = base
        size = sum(base.size for base in self._bases.values())
        while size > MOST_GROUPS:
            size -= self._bases.pop(next(iter(self._bases))).size


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
) -> tuple[list[Summed], _Bases] | None:
    """None where the sums changed meanwhile."""
    now, touched = await _moment(session), await _touched(session, bases)
    lacking = {
        one.key: one for one in queries if one.key not in bases or not bases[one.key].holds(now, one.days, touched)
    }
    last = [row["period"] for row in await session.rows("spend_touched_last", limit=HOT_DAYS)]
    hot = {key: list(dict.fromkeys(one.around(day) for day in last if day in one.days)) for key, one in lacking.items()}
    sums = await _read(session, {key: (one, _between(one.days, hot[key])) for key, one in lacking.items()})
    new = {
        key: Base(
            now,
            hot[key],
            found,
            dict.fromkeys(found) if len(found) <= MOST_MADE else None,
            lacking[key].size + len(found),
        )
        for key, found in sums.items()
    }
    found = await _completed(session, queries, {**bases, **new})
    return (found, new) if await _moment(session) == now else None


async def _completed(session: Session, queries: Sequence[SpendQuery], bases: _Bases) -> list[Summed]:
    """With the hot days."""
    hot = await _read(session, {one.key: (one, bases[one.key].hot) for one in queries})
    found: list[Summed] = []
    for one in queries:
        base, sums = bases[one.key], hot[one.key]
        for names in sums.keys() & base.found.keys():
            add_figures(sums, names, base.found[names])
        whole = {**base.found, **sums}
        found.append(Summed({names: each for names, each in whole.items() if each.get("batches")}, base.made))
    return found


async def _read(session: Session, wanted: Mapping[object, tuple[SpendQuery, Sequence[range]]]) -> dict[object, Found]:
    """The sums of some of a query's days."""
    parts = [(key, query.of_days(days)) for key, (query, ranges) in wanted.items() for days in ranges]
    found: dict[object, Found] = {key: {} for key in wanted}
    for (key, _), sums in zip(parts, await sums_of_days(session, [part for _, part in parts]), strict=True):
        for names, figures in sums.items():
            if names in found[key]:
                add_figures(found[key], names, figures)
            else:
                found[key][names] = figures
    return found


def _between(days: range, holes: Iterable[range]) -> list[range]:
    """The days without the holes."""
    found: list[range] = []
    begin = days.start
    for hole in (*sorted(holes, key=lambda one: one.start), range(days.stop, days.stop)):
        if begin < hole.start:
            found.append(range(begin, hole.start))
        begin = hole.stop
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
