"""Checks the sums of costs: every row against the settlements and what was kept of pruned batches."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from batchmeter.ledger.records import Millis
from batchmeter.ledger.serialize import UNREADABLE
from batchmeter.ledger.session import Reader, Row, Session

from .figures import (
    COLUMNS,
    DAYS,
    LABEL,
    ONES,
    Group,
    Kind,
    Place,
    Tally,
    one_of,
)
from .periods import DAY_MILLIS, first_day, month_of, shown
from .rolling import KEPT, PAGE_ROWS, as_live, keys_of, mark_and_keys, stored_rows
from .settled import Settled, settled_as

_WHOLE = tuple(kind for kind in map(Kind, range(2 * Kind.INVENTED)) if not kind & Kind.PRUNED)
LIVE = (
    *_WHOLE,
    *(one_of(invented, LABEL) for invented in (DAYS, Kind.INVENTED)),
    *(
        one_of(invented | (Kind.MODELS if name == "model" else DAYS), number)
        for number, name in enumerate(ONES, 1)
        for invented in (DAYS, Kind.INVENTED)
    ),
)
"""The kinds of rows that reports are read from."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row of the sums that is not what the settlements come to."""

    period: str
    group: Group
    column: str

    def __str__(self) -> str:
        who = ", ".join(f"{name} {value}" for name, value in self.group.columns().items() if value)
        return f"{self.period} ({who}): {self.column}"


async def check(reader: Reader) -> list[Difference]:
    """Every row of the sums against the settlements and what was kept of pruned batches, month by month."""
    mark, keys = await reader.read(mark_and_keys)
    if mark < 0:  # they are about to be added up anew
        return []
    found: list[Difference] = []
    tally, month = Tally(), None
    months: set[int] = set()
    async for settled, labels in _rolled(reader, mark, keys):
        new = month_of(settled.settled_at // DAY_MILLIS)
        if month is not None and new != month:
            found += await reader.read(partial(_compare_month, month, tally))
            months.add(month)
            tally = Tally()
        month = new
        tally.add(settled, labels)
    if month is not None:
        found += await reader.read(partial(_compare_month, month, tally))
        months.add(month)
    for other in sorted(set(await reader.read(_months)) - months):
        found += await reader.read(partial(_compare_month, other, Tally()))
    return found


async def _months(session: Session) -> list[int]:
    kinds = (Kind.MONTHS, Kind.MONTHS | Kind.INVENTED)
    return [row["period"] for kind in kinds for row in await session.rows("spend_months", kind=int(kind))]


async def _rolled(reader: Reader, mark: int, keys: Mapping[str, int]) -> AsyncIterator[tuple[Settled, Collection[str]]]:
    """Batches in the sums, in the order of their first settling."""
    after: dict[str, Millis] = {}
    while page := await reader.read(partial(_settled_page, mark, after)):
        for row in page:
            if row["settlement"] is None:  # its ending is not in the sums yet
                continue
            try:
                settled = settled_as(row["settled_at"], row["submission"], row["settlement"])
            except UNREADABLE:
                continue
            yield settled, keys_of(keys, row)
        after = {"after_time": page[-1]["settled_at"], "after_pk": page[-1]["pk"]}


async def _settled_page(mark: int, after: Mapping[str, Millis], session: Session) -> list[Row]:
    return await session.rows("spend_settled", mark=mark, limit=PAGE_ROWS, **after)


async def _compare_month(month: int, live: Tally, session: Session) -> list[Difference]:
    """Every kind of row of one month."""
    first, last = first_day(month), first_day(month + 1) - 1
    for of in KEPT:
        async for page in stored_rows(session, of, first, last):
            _merge(live, as_live(page))
    expected, stored = live.spread(), Tally()
    for kind in LIVE:
        ends = (month, month) if kind & Kind.MONTHS else (first, last)
        async for page in stored_rows(session, kind, *ends):
            _merge(stored, page)
    return [*_differences(expected.sums, stored.sums), *_reasons(expected.unknown, stored.unknown)]


def _merge(tally: Tally, other: Tally) -> None:
    for place, figures in other.sums.items():
        tally.sums[place].update(figures)
    for key, figures in other.unknown.items():
        tally.unknown[key].update(figures)


def _named(place: Place) -> str:
    kind, period, _ = place
    return shown("month" if kind & Kind.MONTHS else "day", period)


def _differences(expected: Mapping[Place, Any], stored: Mapping[Place, Any]) -> Iterable[Difference]:
    for place in expected.keys() | stored.keys():
        ours, theirs = expected.get(place, {}), stored.get(place, {})
        for column in COLUMNS:
            if ours.get(column, 0) != theirs.get(column, 0):
                yield Difference(_named(place), place[2], column)
                break


def _reasons(expected: Mapping[Any, Any], stored: Mapping[Any, Any]) -> Iterable[Difference]:
    for key in expected.keys() | stored.keys():
        ours, theirs = expected.get(key, {}), stored.get(key, {})
        if any(ours.get(column, 0) != theirs.get(column, 0) for column in ("batches", "lines")):
            (place, reason) = key
            yield Difference(_named(place), place[2], f"lines unknown for {reason}")
