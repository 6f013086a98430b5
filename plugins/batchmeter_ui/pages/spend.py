"""Spend as a table: one thing down, time across; and the same as CSV."""

import csv
import io
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass

import htpy as h
from starlette.responses import Response

from batchmeter.host import CostRow
from batchmeter_proxy import Refusal
from batchmeter_proxy.answers import Streamed
from batchmeter_ui.page import card
from batchmeter_ui.span import PERIODS, Span, asked_span, choice, chooser, invented_note
from batchmeter_ui.sums import dimensions, is_complete, of_names, query, spend_all, summed
from batchmeter_ui.table import most_rows, table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import cell, shortened, spent

_FEW_DAYS, _SOME_DAYS = 14, 120
_MOST_CELLS = 15_000
"""Cells of the CSV that are made at once."""
_MOST_NAMES = 1_000
"""Names that a page counts."""


@dataclass(frozen=True, slots=True)
class Pivot:
    by: str
    per: str
    span: Span
    columns: tuple[str, ...]
    names: Sequence[str]
    """The costliest first; '' for none."""


Cells = dict[str, dict[str, CostRow]]
"""Name -> period -> sum."""


async def _pivot(view: View, *, most: int | None = None) -> Pivot:
    span = asked_span(view)
    by = view.query("by") or "model"
    usual = "day" if len(span.dates) <= _FEW_DAYS else "week" if len(span.dates) <= _SOME_DAYS else "month"
    per = view.query("per") or usual
    for name, chosen, known in (("by", by, dimensions(view)), ("per", per, PERIODS)):
        if chosen not in known:
            raise Refusal(400, f"{name}={chosen[:40]!r} is none of {', '.join(known)}.", code="invalid_value")
    (found,) = await spend_all(view, query(view, (by,), span, most=most))
    names = [one.group or "" for one in found]
    return Pivot(by, per, span, tuple(span.periods(per)), names)


async def _cells(view: View, pivot: Pivot, names: Sequence[str]) -> Cells:
    """Of these names; each row's cells are as of one moment."""
    whole = query(view, (pivot.per, pivot.by), pivot.span)
    queries = [whole] if len(names) == len(pivot.names) <= _MOST_NAMES else of_names(whole, pivot.by, names)
    cells: Cells = {name: {} for name in names}
    for one in (row for rows in await spend_all(view, *queries) for row in rows):
        if (found := cells.get(one.groups[pivot.by] or "")) is not None:
            found[one.groups[pivot.per] or ""] = one
    return cells


async def show(view: View) -> Content:
    pivot = await _pivot(view, most=_MOST_NAMES + 1)  # one more shows that there are others
    columns = (pivot.by.title(), "All>", "Batches>", *(f"{column}>" for column in pivot.columns))
    names = pivot.names[: most_rows(len(columns))]
    cells = await _cells(view, pivot, names) if names else {}
    rows = [_row(pivot, name, found) for name, found in cells.items()]
    empty, rest = "No batch was settled in this span.", min(len(pivot.names), _MOST_NAMES) - len(names)
    elsewhere = "rows and others are in the CSV" if len(pivot.names) > _MOST_NAMES else "rows are in the CSV"
    invented = any(one.invented for found in cells.values() for one in found.values())
    body = [
        chooser(view, pivot.span, "/spend", by=pivot.by),
        invented_note(shown=invented),
        _links(view, pivot),
        card(
            f"By {pivot.by} and {pivot.per}",
            table("Spend", columns, rows, empty=empty, elsewhere=elsewhere, more=rest),
            h.p(".quiet")[
                "A batch counts for the day that it was settled on. With tags, it is in the row of each of its tags."
            ],
        ),
    ]
    return Content("Spend", body)


def _row(pivot: Pivot, name: str, found: Mapping[str, CostRow]) -> Sequence[h.Node]:
    whole = summed(found.values())
    cells = [spent(found[column]) if column in found else "–" for column in pivot.columns]
    return (shortened(name, 60) if name else h.span(".quiet")["(none)"], spent(whole), f"{whole.batches:,}", *cells)


def _links(view: View, pivot: Pivot) -> h.Element:
    query = pivot.span.query
    by = [
        choice(view.url("/spend", by=one, per=pivot.per, **query), one, chosen=one == pivot.by)
        for one in dimensions(view)
    ]
    per = [choice(view.url("/spend", by=pivot.by, per=one, **query), one, chosen=one == pivot.per) for one in PERIODS]
    csv_ = h.a(href=view.url("/export/spend.csv", by=pivot.by, per=pivot.per, **query))["CSV"]
    return h.p(".span")[h.span["Rows:"], by, h.span["Columns:"], per, csv_]


async def export(view: View) -> Response:
    """The page's rows and the rest, exact: known USD and lines of unknown cost, a line for each row and period.

    Some names at a time, so that memory does not grow with them.
    """
    pivot = await _pivot(view)
    headers = {"content-disposition": f'attachment; filename="spend-{pivot.span.first}-{pivot.span.last}.csv"'}
    seconds = view.call.state.options.download_seconds
    return Streamed(seconds, _csv(view, pivot), headers=headers, media_type="text/csv; charset=utf-8")


async def _csv(view: View, pivot: Pivot) -> AsyncGenerator[bytes]:
    yield _csv_lines([(pivot.by, pivot.per, "known_usd", "complete", "unpriced_lines", "batches")])
    at_once = max(_MOST_CELLS // len(pivot.columns), 1)
    for begin in range(0, len(pivot.names), at_once):
        for name, found in (await _cells(view, pivot, pivot.names[begin : begin + at_once])).items():
            yield _csv_lines(_csv_row(name, column, found[column]) for column in pivot.columns if column in found)


def _csv_row(name: str, column: str, one: CostRow) -> Sequence[object]:
    complete = is_complete(one)
    known = f"{one.known:f}" if complete or one.known else ""
    return (cell(name), column, known, "yes" if complete else "no", one.unpriced_lines, one.batches)


def _csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


PAGE = Page("/spend", "Spend", show)
MORE = (Page("/export/spend.csv", "", export),)
