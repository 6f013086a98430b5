"""The cost report: settled batches summed in groups, exactly, with the unknown part; as objects, and as CSV."""

import asyncio
import csv
import datetime as dt
import heapq
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel

from batchmeter.errors import UsageError
from batchmeter.host import CostRow, CostSum
from batchmeter.ledger.records import Millis
from batchmeter.models import Frozen, Usage

from .figures import UNITS, Figures, joined_usd
from .periods import TIMES
from .query import Found, Names

GroupBy = Literal[
    "model", "account", "provider", "key", "team", "user", "tag", "job", "status", "day", "week", "month"
]  # fmt: skip
GROUPINGS: tuple[str, ...] = get_args(GroupBy)
"""And `metadata.KEY`, for keys that the settings name."""
Made = dict[Names, tuple[Figures, CostRow] | None]
"""Rows with the figures that they were made of; None until they are made. No other names are added."""
_Found = tuple[Names, Figures]
_UNITS, _ROW_FIELDS = set(Usage.model_fields), set(CostRow.model_fields)
_UNUSED = dict.fromkeys(UNITS, 0)
_put_values, _put_fields, _put_extra, _put_private = (
    vars(BaseModel)[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)
"""As `object.__setattr__` does, in half the time."""
Model = TypeVar("Model", bound=BaseModel)
_SLICE = 500
"""Rows made before the loop gets a turn; so many are also sorted without a thread."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings that make a spreadsheet take a cell for a formula."""


class CostReport(Frozen, frozen=True):
    """Batches count for the time they were settled at. With `tag`, a batch is in the row of each of its tags."""

    object: Literal["cost_report"] = "cost_report"
    group_by: str
    """One or two groups, with a comma between."""
    data: tuple[CostRow, ...]
    """Days, weeks and months in order, all else by what is known of the cost, highest first."""
    total: CostSum
    """Each batch once; with a filter by model, its shares."""
    truncated: bool = False
    """There are more groups than `data` has rows; they are in `total`."""
    invented: int = 0
    """Batches of a sandbox, whose costs are made up: left out, unless there are no others."""


async def make_rows(
    named: Sequence[str], found: Found, limit: int | None = None, made: Made | None = None
) -> list[CostRow]:
    """In the report's order; sorted in a thread and made in slices, since there may be hundreds of thousands.

    `made`: rows that are taken again where their figures are the same object; those of this time are put there.
    """
    rows: list[CostRow] = []
    few = len(found) <= _SLICE
    units = _units_of(found) if few else await asyncio.to_thread(_units_of, found)
    items: list[_Found] = list(found.items())
    chosen = _chosen(named, items, limit) if few else await asyncio.to_thread(_chosen, named, items, limit)
    for place, (names, figures) in enumerate(chosen, 1):
        earlier = None if made is None else made.get(names)
        row = earlier[1] if earlier is not None and earlier[0] is figures else _row(named, names, figures, units)
        if made is not None and names in made:
            made[names] = (figures, row)
        rows.append(row)
        if place % _SLICE == 0:
            await asyncio.sleep(0)
    return rows


def _units_of(found: Found) -> list[str]:
    used = set[str]()
    for figures in found.values():
        used.update(figures)
    return [name for name in UNITS if name in used]


def _chosen(named: Sequence[str], found: list[_Found], limit: int | None) -> list[_Found]:
    times = [place for place, name in enumerate(named) if name in TIMES]

    def order(one: _Found) -> tuple[Any, ...]:
        names, figures = one
        shown = [(name is None, name or "") for name in names]
        return (*[names[place] for place in times], -_atto(figures), *shown)

    def latest(one: _Found) -> tuple[Any, ...]:
        return (*(one[0][place] for place in times), _atto(one[1]))

    if limit is None:
        return sorted(found, key=order)
    return sorted(heapq.nlargest(limit, found, latest), key=order) if times else heapq.nsmallest(limit, found, order)


def as_csv(report: CostReport) -> str:
    """One line a row, money as plain decimals; a cell that a spreadsheet would take for a formula gets a leading '."""
    names = report.group_by.split(",")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    units = [name for name in Usage.model_fields if getattr(report.total.usage, name)]
    amounts = ("total", "known", "list_price", "saved")
    writer.writerow([*names, "batches", "lines", "unpriced_lines", *(f"{name}_usd" for name in amounts), *units])
    for row in report.data:
        shown = row.model_dump(mode="json")
        groups = [csv_cell(row.groups[name]) for name in names]
        counts = [row.batches, row.lines, row.unpriced_lines, *(shown[name] for name in amounts)]
        writer.writerow([*groups, *counts, *(getattr(row.usage, name) for name in units)])
    return text.getvalue()


def csv_cell(text: str | None) -> str:
    return "" if text is None else f"'{text}" if text.startswith(_FORMULAS) else text


def moment(text: str | None, *, end: bool = False) -> Millis | None:
    """Epoch milliseconds of an ISO 8601 time or UTC date; as the `end` of a range, a date means all of that day."""
    if text is None or text == "":
        return None
    try:
        found = dt.datetime.fromisoformat(text)
        if end and len(text) <= len("2026-11-22"):
            found += dt.timedelta(days=1)
        return int((found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a time: write 2026-11-22 or 2026-11-22T09:00:00Z") from None


def _row(named: Sequence[str], names: Names, figures: Figures, units: Sequence[str]) -> CostRow:
    values = _sum(figures, units)
    values["group"] = names[0] if names else None
    values["groups"] = dict(zip(named, names, strict=True))
    values["invented"] = False
    return _made(CostRow, values, _ROW_FIELDS)


def make_sum(figures: Figures) -> CostSum:
    return CostSum(**_sum(figures, UNITS))


def _sum(figures: Figures, units: Sequence[str]) -> dict[str, Any]:
    get = figures.get
    known, listed = joined_usd(get("usd", 0), get("nano", 0), get("atto", 0)), get("list_lines", 0)
    used = _UNUSED.copy()
    for name in units:
        used[name] = get(name, 0)
    return {
        "batches": get("batches", 0),
        "lines": get("lines", 0),
        "usage": _made(Usage, used, _UNITS),
        "total": None if get("incomplete") else known,
        "known": known,
        "unpriced_lines": get("unpriced", 0),
        "list_lines": listed,
        "list_price": _usd(figures, "list_") if listed else None,
        "saved": _usd(figures, "saved_") if listed else None,
    }


def _made(model: type[Model], values: dict[str, Any], fields: set[str]) -> Model:
    """A model of values that need no check, all there: a third of the time of a report with thousands of rows."""
    made = object.__new__(model)
    _put_values(made, values)
    _put_fields(made, fields)
    _put_extra(made, None)
    _put_private(made, None)
    return made


def _atto(figures: Figures) -> int:
    """The known cost as one whole number, to sort by."""
    return (figures.get("usd", 0) * 10**9 + figures.get("nano", 0)) * 10**9 + figures.get("atto", 0)


def _usd(figures: Figures, prefix: str) -> Decimal:
    get = figures.get
    return joined_usd(get(prefix + "usd", 0), get(prefix + "nano", 0), get(prefix + "atto", 0))
