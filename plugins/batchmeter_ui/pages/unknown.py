"""The worklist: lines whose cost is unknown, why, and what mends it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

import htpy as h

from batchmeter.access import UnknownCost
from batchmeter_ui.page import card
from batchmeter_ui.span import asked_span, chooser, invented_note
from batchmeter_ui.sums import spend, unknown_costs
from batchmeter_ui.table import table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import number, shortened

MENDS: dict[str, tuple[str, str]] = {
    "unknown_model": (
        "no row prices this model: add one, then price again",
        "batchmeter prices show {model} && batchmeter reprice",
    ),
    "missing_rate": (
        "its row has no rate for something it used: add the rate, then price again",
        "batchmeter prices show {model} && batchmeter reprice",
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
    "failed_with_usage": ("failed lines that used something: the vendor's bill says whether they were billed", ""),
    "output_unavailable": (
        "the output was gone before it was read: keep files longer, run a tracker",
        "batchmeter track",
    ),
    "batch_unavailable": ("the provider no longer knows the batch: run a tracker", "batchmeter track"),
    "lines_missing": ("the provider counts more answers than its files have: ask the provider", ""),
    "unmetered": ("it was settled before reasons were kept by model: its notes say what lacks", ""),
    "lines_malformed": ("lines that cannot be read: fetch the file again, ask the provider", ""),
}
"""Reason -> what helps, and the command for it."""


_PRICED = frozenset({"unknown_model", "missing_rate", "price_plugin_failed"})
"""Reasons that a price mends, without another look at the files."""
Tokens = Mapping[tuple[str, str], float]
"""Model and account -> tokens of a line, on average."""


async def show(view: View) -> Content:
    span = asked_span(view, days=90)
    sums = await spend(view, ("model", "account"), span)
    invented = any(one.invented for one in sums)
    found = await unknown_costs(view, span, invented=invented)
    tokens = {
        (one.groups["model"] or "", one.groups["account"] or ""): (one.usage.input_tokens + one.usage.output_tokens)
        / one.lines
        for one in sums
        if one.lines
    }
    return Content(
        "Unknown cost",
        [
            chooser(view, span, "/unknown"),
            invented_note(shown=invented),
            card("What to mend, oldest first", _whole(view, found, tokens)),
            h.p(".quiet")[
                "An unknown cost is not zero: the sums of these pages leave these lines out and say so (≥). Tokens are as"
                " many as such lines have on average."
            ],
        ],
    )


def worklist(view: View, found: Sequence[UnknownCost], *, most: int) -> h.Node:
    """The short one of the overview: the same reason and model in all accounts as one, most lines first."""
    rows = [_begin(view, one) for one in _together(found)[:most]]
    columns = ("Reason", "Model", "Batches>", "Lines>")
    return table("Unknown costs", columns, rows, empty="Every line's cost is known.")


def _together(found: Sequence[UnknownCost]) -> list[UnknownCost]:
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


def _begin(view: View, one: UnknownCost) -> tuple[h.Node, ...]:
    batches = h.a(href=view.url("/batches", unknown="1", account=one.account))[number(one.batches)]
    return h.code[shortened(one.reason, 60)], shortened(one.model or "(none)", 60), batches, number(one.lines)


def _whole(view: View, found: Sequence[UnknownCost], tokens: Tokens) -> h.Node:
    """With where it is, how much it may be, and the command that mends it."""
    columns = ("Reason", "Model", "Batches>", "Lines>", "Tokens>", "Since", "Account", "What helps")
    rows = [_row(view, one, tokens) for one in sorted(found, key=lambda one: (one.first_day, -one.lines))]
    empty, elsewhere = "Every line's cost is known.", "are newer: mend these first, or choose fewer days"
    return table("Unknown costs", columns, rows, empty=empty, elsewhere=elsewhere)


def _row(view: View, one: UnknownCost, tokens: Tokens) -> Sequence[h.Node]:
    helps, command = MENDS.get(one.reason, ("see the batch's notes", ""))
    size = round(one.lines * tokens.get((one.model, one.account), 0))
    may = one.reason in _PRICED and not view.settings.read_only
    again = h.a(href=view.url("/unknown/reprice", account=one.account))["Price again…"]
    return (
        *_begin(view, one),
        f"≈ {size:,}" if size else "–",
        (date(1970, 1, 1) + timedelta(days=one.first_day)).isoformat(),
        shortened(one.account, 40),
        h.div(".text")[
            helps,
            ". " if command or may else None,
            h.code[command.format(model=shlex.quote(one.model or "MODEL"))] if command else None,
            " " if may else None,
            again if may else None,
        ],
    )


PAGE = Page("/unknown", "Unknown cost", show)
