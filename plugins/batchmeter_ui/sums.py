"""Sums for the pages, as far as the caller may see them: from the ledger's own sums, never from settlements."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from batchmeter.access import UnknownCost
from batchmeter.host import CostQuery, CostRow

from .span import Span
from .view import View

if TYPE_CHECKING:
    from batchmeter.access import BatchFilter

_FEW_ROWS = 500
DIMENSIONS = ("model", "account", "team", "key", "user", "tag", "job", "provider")


def dimensions(view: View) -> tuple[str, ...]:
    """Names of groups, with the metadata keys that the settings name."""
    return (*DIMENSIONS, *(f"metadata.{key}" for key in view.call.client.settings.reports.metadata_keys))


def query(view: View, by: Sequence[str], span: Span, *, most: int | None = None) -> CostQuery:
    """By any of `DIMENSIONS`, by day, week or month, or by two of all these."""
    since, until = _ends(span)
    return CostQuery(by, since, until, _filter_of(view.own()), most)


def of_names(whole: CostQuery, by: str, names: Sequence[str]) -> list[CostQuery]:
    """Queries that find all of these names, '' for none, and may find others beside."""
    named = [name for name in names if name]
    values: list[Sequence[str] | None] = [*([named] if named else []), *([None] if "" in names else [])]
    return [replace(whole, where={**whole.where, by: value}) for value in values]


def query_before(view: View, day: date) -> CostQuery:
    """All of the caller's batches that were settled before this day, as one sum; no row where there were none."""
    return CostQuery((), None, _begin(day), _filter_of(view.own()))


async def spend_all(view: View, *queries: CostQuery) -> list[list[CostRow]]:
    """The rows of these queries, all as of one moment; the highest known cost first.

    A sandbox's batches, `invented`, are summed where there are no others.
    """
    found = await view.host.spend_all(*queries)
    return [_sorted(rows) if len(rows) <= _FEW_ROWS else await asyncio.to_thread(_sorted, rows) for rows in found]


def _sorted(rows: Sequence[CostRow]) -> list[CostRow]:
    return sorted(rows, key=lambda one: (-one.known, tuple(name or "" for name in one.groups.values())))


async def spend(view: View, by: Sequence[str], span: Span) -> list[CostRow]:
    """One query alone."""
    (rows,) = await spend_all(view, query(view, by, span))
    return rows


def summed(rows: Iterable[CostRow], group: str | None = None) -> CostRow:
    """The sum of rows that have no batch in common; of usage, nothing."""
    found = list(rows)
    listed = [one for one in found if one.list_price is not None]
    known = sum((one.known for one in found), Decimal(0))
    return CostRow(
        group=group,
        groups={},
        batches=sum(one.batches for one in found),
        lines=sum(one.lines for one in found),
        total=known if all(map(is_complete, found)) else None,
        known=known,
        unpriced_lines=sum(one.unpriced_lines for one in found),
        list_lines=sum(one.list_lines for one in found),
        list_price=sum((one.list_price or Decimal(0) for one in listed), Decimal(0)) if listed else None,
        saved=sum((one.saved or Decimal(0) for one in listed), Decimal(0)) if listed else None,
        invented=any(one.invented for one in found),
    )


def summed_by(name: str, rows: Iterable[CostRow]) -> list[CostRow]:
    """Rows by two groups as rows by one of them; the highest known first."""
    parts: defaultdict[str, list[CostRow]] = defaultdict(list)
    for one in rows:
        parts[one.groups[name] or ""].append(one)
    found = [summed(each, group or None) for group, each in parts.items()]
    return sorted(found, key=lambda one: (-one.known, one.group or ""))


async def unknown_costs(view: View, span: Span, *, invented: bool = False) -> list[UnknownCost]:
    since, until = _ends(span)
    return await view.access.unknown_costs(view.own(), since=since, until=until, invented=invented)


def is_complete(one: CostRow) -> bool:
    """Whether all of it is known."""
    return one.total is not None


def _filter_of(own: "BatchFilter") -> Mapping[str, str | Sequence[str] | None]:
    """The filter of the caller's own batches, as `host.spend` takes it."""
    accounts = {} if own.accounts is None else {"account": own.accounts}
    return accounts if own.key is None else {**accounts, "key": own.key}


def _ends(span: Span) -> tuple[int, int]:
    """Epoch milliseconds: the first day's begin and the last one's end."""
    return _begin(span.first), _begin(span.last + timedelta(days=1))


def _begin(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
