"""Health: what the ledger holds, who works on it, what is overdue, and what was done on these pages."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import htpy as h

from batchmeter import __version__
from batchmeter.access import CostGauge, Following
from batchmeter_ui.page import card, moment
from batchmeter_ui.table import facts, table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import number, shortened, spaced

_MOST_ACTIONS = 20


async def show(view: View) -> Content:
    ledger, following = await view.access.condition(), await view.access.following()
    gauges, beat = await view.access.cost_gauges(), view.access.heartbeat()
    size = "not told by its engine" if ledger.bytes is None else f"{ledger.bytes / 1_000_000:,.1f} MB"
    return Content("Health", [
        card("Ledger", facts([
            ("Where", h.code[view.host.ledger_url]),
            ("Size", size),
            ("Version", f"batchmeter {__version__}, schema {ledger.schema_version}"),
            ("Batches", number(sum(one.batches for one in gauges))),
            ("Events", f"{await view.access.last_event():,} recorded so far"),
            ("Its clock", datetime.fromtimestamp(view.now / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")),
        ])),
        card("Trackers", facts([
            ("Hold a batch now", ", ".join(ledger.workers) or "none"),
            ("This server's", "none runs here" if beat is None else ["last round ", moment(int(beat * 1000), view.now)]),
        ]), _following(view, following)),
        card("Batches by account", _accounts(gauges)),
        card("Done on these pages", await _actions(view)),
    ])  # fmt: skip


def _following(view: View, found: Sequence[Following]) -> h.Node:
    rows = [
        (
            h.a(href=view.url("/batches", account=one.account, settled="no"))[shortened(one.account, 60)],
            number(one.open),
            h.span(".bad")[number(one.overdue)] if one.overdue else "0",
            h.span(".bad")[number(one.failing)] if one.failing else "0",
            moment(one.oldest_at, view.now),
        )
        for one in found
    ]
    columns = ("Account", "Open>", "Polls late>", "Last poll failed>", "Oldest open batch")
    return table("Open batches by account", columns, rows, empty="No batch is open.")


def _accounts(gauges: Sequence[CostGauge]) -> h.Node:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter[str])
    for one in gauges:
        counts[one.account][one.status] += one.batches
    statuses = sorted({one.status for one in gauges})
    rows = [(shortened(name, 60), *(number(counts[name][status]) for status in statuses)) for name in sorted(counts)]
    return table("Batches by account", ("Account", *(f"{spaced(status)}>" for status in statuses)), rows)


async def _actions(view: View) -> h.Node:
    notes: list[Any] = await (await view.sessions()).notes(_MOST_ACTIONS)
    rows = [
        (moment(note["at"], view.now), note["key_id"] or "no key", note["what"], shortened(str(note["object"])))
        for note in notes
    ]
    return table("Actions", ("When", "Key", "What", "On"), rows, empty="Nothing yet.")


PAGE = Page("/health", "Health", show, everywhere=True)
