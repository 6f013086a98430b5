"""The worklist: lines whose cost is unknown, why, and what mends it."""

from collections.abc import Sequence
from dataclasses import replace

import htpy as h

from batchmeter.access import UnknownCost
from batchmeter_ui.page import Content, Page, card
from batchmeter_ui.span import asked_span, chooser, invented_note
from batchmeter_ui.sums import spend, unknown_costs
from batchmeter_ui.table import table
from batchmeter_ui.view import View
from batchmeter_ui.words import number, shortened

MENDS: dict[str, tuple[str, str]] = {
    "unknown_model": (
        "no row prices this model: add one, then price again",
        "batchmeter prices show MODEL && batchmeter reprice",
    ),
    "missing_rate": (
        "its row has no rate for something it used: add the rate, then price again",
        "batchmeter prices show MODEL && batchmeter reprice",
    ),
    "price_plugin_failed": (
        "a price plugin failed: mend it, then price again",
        "batchmeter plugins && batchmeter reprice",
    ),
    "usage_missing": ("the vendor sent no usage: ask the vendor; it is not guessed", ""),
    "usage_invalid": ("the vendor's counters cannot be: ask the vendor", ""),
    "usage_contradicts_total": ("the vendor's total is not the sum of its parts: ask the vendor", ""),
    "unknown_counter": (
        "a counter that no table knows: update batchmeter, or report it",
        "pip install --upgrade batchmeter",
    ),
    "output_unavailable": (
        "the output was gone before it was read: keep files longer, run a tracker",
        "batchmeter track",
    ),
    "batch_unavailable": ("the provider no longer knows the batch: run a tracker", "batchmeter track"),
    "lines_missing": ("the provider counts more answers than its files have: ask the provider", ""),
    "lines_malformed": ("lines that cannot be read: fetch the file again, ask the provider", ""),
}
"""Reason -> what helps, and the command for it."""


async def show(view: View) -> Content:
    span = asked_span(view, days=90)
    invented = any(one.invented for one in await spend(view, (), span))
    found = await unknown_costs(view, span, invented=invented)
    return Content(
        "Unknown cost",
        [
            chooser(view, span, "/unknown"),
            invented_note(shown=invented),
            card("What to mend", worklist(view, found, commands=True)),
            h.p(".quiet")["An unknown cost is not zero: the sums of these pages leave these lines out and say so (≥)."],
        ],
    )


def worklist(view: View, found: Sequence[UnknownCost], *, commands: bool = False, most: int | None = None) -> h.Element:
    """`commands`: with where it is and the command that mends it."""
    more = ("Account", "Command") if commands else ()
    columns = ("Reason", "Model", "Batches>", "Lines>", "What helps", *more)
    rows = [_row(view, one, commands=commands) for one in (found if commands else _together(found)[:most])]
    return table("Unknown costs", columns, rows, empty="Every line's cost is known.")


def _together(found: Sequence[UnknownCost]) -> list[UnknownCost]:
    """The same reason and model in all accounts as one, most lines first."""
    sums: dict[tuple[str, str], UnknownCost] = {}
    for one in found:
        place = (one.reason, one.model)
        before = sums.get(place)
        sums[place] = (
            one
            if before is None
            else replace(before, account="", batches=before.batches + one.batches, lines=before.lines + one.lines)
        )
    return sorted(sums.values(), key=lambda one: -one.lines)


def _row(view: View, one: UnknownCost, *, commands: bool) -> Sequence[h.Node]:
    helps, command = MENDS.get(one.reason, ("see the batch's notes", ""))
    batches = h.a(href=view.url("/batches", unknown="1", account=one.account))[number(one.batches)]
    model = shortened(one.model or "(none)", 60)
    told = (h.code[shortened(one.reason, 60)], model, batches, number(one.lines))
    if not commands:
        return (*told, helps.partition(":")[0])
    return (*told, h.span(".text")[helps], shortened(one.account, 40), h.code[command] if command else "–")


PAGE = Page("/unknown", "Unknown cost", show)
