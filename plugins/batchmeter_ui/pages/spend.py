"""Spend as a table: one thing down, time across; and the same as CSV."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import htpy as h
from starlette.responses import Response

from batchmeter.host import CostRow
from batchmeter_proxy import Refusal
from batchmeter_ui.page import card
from batchmeter_ui.span import PERIODS, Span, asked_span, choice, chooser, invented_note
from batchmeter_ui.sums import dimensions, is_complete, spend, summed
from batchmeter_ui.table import table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import cell, shortened, spent

_FEW_DAYS, _SOME_DAYS = 14, 120


@dataclass(frozen=True, slots=True)
class Pivot:
    by: str
    per: str
    span: Span
    columns: tuple[str, ...]
    rows: dict[str, dict[str, CostRow]]
    """Name ('' for none) -> period -> sum; the period '' is the whole span."""
    invented: bool


async def _pivot(view: View) -> Pivot:
    span = asked_span(view)
    by = view.query("by") or "model"
    usual = "day" if len(span.dates) <= _FEW_DAYS else "week" if len(span.dates) <= _SOME_DAYS else "month"
    per = view.query("per") or usual
    for name, chosen, known in (("by", by, dimensions(view)), ("per", per, PERIODS)):
        if chosen not in known:
            raise Refusal(400, f"{name}={chosen[:40]!r} is none of {', '.join(known)}.", code="invalid_value")
    parts: defaultdict[str, dict[str, CostRow]] = defaultdict(dict)
    found = await spend(view, (per, by), span)
    for one in found:
        parts[one.groups[by] or ""][one.groups[per] or ""] = one
    rows = {name: {**each, "": summed(each.values())} for name, each in parts.items()}
    order = sorted(rows, key=lambda name: (-rows[name][""].known, name))
    invented = any(one.invented for one in found)
    return Pivot(by, per, span, tuple(span.periods(per)), {name: rows[name] for name in order}, invented)


async def show(view: View) -> Content:
    pivot = await _pivot(view)
    columns = (pivot.by.title(), "All>", "Batches>", *(f"{column}>" for column in pivot.columns))
    rows = [_row(pivot, name) for name in pivot.rows]
    empty = "No batch was settled in this span."
    body = [
        chooser(view, pivot.span, "/spend", by=pivot.by),
        invented_note(shown=pivot.invented),
        _links(view, pivot),
        card(
            f"By {pivot.by} and {pivot.per}",
            table("Spend", columns, rows, empty=empty, elsewhere="rows are in the CSV"),
            h.p(".quiet")[
                "A batch counts for the day that it was settled on. With tags, it is in the row of each of its tags."
            ],
        ),
    ]
    return Content("Spend", body)


def _row(pivot: Pivot, name: str) -> Sequence[h.Node]:
    found = pivot.rows[name]
    whole = found[""]
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
    """The page's rows, exact: known USD and lines of unknown cost, a line for each row and period."""
    pivot = await _pivot(view)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([pivot.by, pivot.per, "known_usd", "complete", "unpriced_lines", "batches"])
    for name, found in pivot.rows.items():
        for column in pivot.columns:
            if column in found:
                one = found[column]
                complete = is_complete(one)
                known = f"{one.known:f}" if complete or one.known else ""
                yes = "yes" if complete else "no"
                writer.writerow([cell(name), column, known, yes, one.unpriced_lines, one.batches])
    headers = {"content-disposition": f'attachment; filename="spend-{pivot.span.first}-{pivot.span.last}.csv"'}
    return Response(text.getvalue().encode("utf-8", "replace"), headers=headers, media_type="text/csv; charset=utf-8")


PAGE = Page("/spend", "Spend", show)
MORE = (Page("/export/spend.csv", "", export),)
