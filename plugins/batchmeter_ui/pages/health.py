"""Health: what the ledger holds, what is overdue, and what was done on these pages."""

from datetime import UTC, datetime
from typing import Any

import htpy as h

from batchmeter import __version__
from batchmeter_ui.page import Content, Page, card, moment
from batchmeter_ui.table import facts, table
from batchmeter_ui.view import View
from batchmeter_ui.words import number, shortened, spaced

_MOST_ACTIONS = 20


async def show(view: View) -> Content:
    stats = await view.access.stats()
    return Content("Health", [
        card("Ledger", facts([
            ("Where", h.code[view.host.ledger_url]),
            ("Version", f"batchmeter {__version__}, schema {stats['schema_version']}"),
            ("Batches", number(stats["batches"])),
            ("Open", number(stats["open"])),
            ("Due for a look now", number(stats["overdue"])),
            ("Creates under way", number(stats["open_intents"])),
            ("Its clock", datetime.fromtimestamp(view.now / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")),
            *((f"Events {name}", number(count)) for name, count in sorted(stats["events"].items())),
        ])),
        card("Batches by account", _accounts(stats["accounts"])),
        card("Done on these pages", await _actions(view)),
    ])  # fmt: skip


def _accounts(accounts: dict[str, dict[str, int]]) -> h.Element:
    statuses = sorted({status for counts in accounts.values() for status in counts})
    rows = [
        (shortened(name, 60), *(number(counts.get(status, 0)) for status in statuses))
        for name, counts in sorted(accounts.items())
    ]
    return table("Batches by account", ("Account", *(f"{spaced(status)}>" for status in statuses)), rows)


async def _actions(view: View) -> h.Element:
    assert view.sessions is not None
    notes: list[Any] = await (await view.sessions()).notes(_MOST_ACTIONS)
    rows = [
        (moment(note["at"], view.now), note["key_id"] or "no key", note["what"], shortened(str(note["object"])))
        for note in notes
    ]
    return table("Actions", ("When", "Key", "What", "On"), rows, empty="Nothing yet.")


PAGE = Page("/health", "Health", show, everywhere=True)
