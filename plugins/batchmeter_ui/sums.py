"""Sums for the pages, as far as the caller may see them: from the ledger's own sums, never from settlements."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from batchmeter.access import UnknownCost
from batchmeter.host import CostRow

from .span import Span
from .view import View

if TYPE_CHECKING:
    from batchmeter.access import BatchFilter

DIMENSIONS = ("model", "account", "team", "key", "user", "tag", "job", "provider")


def dimensions(view: View) -> tuple[str, ...]:
    """Names of groups, with the metadata keys that the settings name."""
    return (*DIMENSIONS, *(f"metadata.{key}" for key in view.call.client.settings.reports.metadata_keys))


NOTHING = CostRow(group=None, groups={})
"""The sum of no batches."""


async def spend(view: View, by: Sequence[str], span: Span) -> list[CostRow]:
    """By any of `DIMENSIONS`, by day, week or month, or by two of all these; the highest known first.

    A sandbox's batches, `invented`, are summed where there are no others.
    """
    since, until = _ends(span)
    rows = await view.host.spend(by, since=since, until=until, where=_filter_of(view.own()))
    return sorted(rows, key=lambda one: (-one.known, tuple(name or "" for name in one.groups.values())))


async def settled_before(view: View, day: date) -> bool:
    """Whether a batch of the caller's was settled before this day."""
    return bool(await view.host.spend((), until=_begin(day), where=_filter_of(view.own())))


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
