"""The pages: a calendar of days and bills, coloured by status; and one reconciliation with its rows and steps."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import htpy as h

from batchmeter.errors import UsageError
from batchmeter_proxy import Refusal
from batchmeter_ui.page import card, moment
from batchmeter_ui.table import facts, table
from batchmeter_ui.view import Content, Page, Tile

from .document import WORST, is_drift

if TYPE_CHECKING:
    from batchmeter_ui import View

    from .document import Document
    from .reconciler import Reconciler

_DAYS, _MOST_IDS = 28, 50
_DAY = timedelta(days=1)
_MARKS = {
    "match": "=", "explained": "~", "pending": "…", "unverifiable": "?", "unmatched_items": "!",
    "price_drift": "$", "ours_missing": "+", "vendor_missing": "-",
}  # fmt: skip
_COLOURS = {"match": "", "explained": "quiet", "pending": "quiet", "unverifiable": "quiet"}
"""Every other status is trouble's colour."""
_WORDS = {
    "match": "both agree", "explained": "within what midnight allows", "pending": "may still change",
    "unverifiable": "cannot be compared", "unmatched_items": "lines that cannot be read",
    "price_drift": "the same tokens at another price", "ours_missing": "the vendor has more", "vendor_missing": "the vendor has less",
}  # fmt: skip


def pages(reconciler: "Callable[[], Reconciler]") -> list[Page]:
    """`/ui/reconcile` and `/ui/reconcile/{id}`, for those who see everything."""

    async def listed(view: "View") -> Content:
        today = datetime.fromtimestamp(view.now / 1000, UTC).date()
        found = await reconciler().days(today - _DAY * _DAYS)
        rows = [_summary(view, one) for one in await reconciler().listed(limit=_MOST_IDS)]
        columns = ("Reconciliation", "Bill", "Days", "Status", "Drift>", "By", "Made")
        empty = "None yet: `batchmeter reconcile ACCOUNT`, or [plugins.reconcile.NAME] for one every day."
        return Content("Reconcile", [_calendar(found, today), card("Made", table("Made", columns, rows, empty=empty))])

    async def shown(view: "View") -> Content:
        try:
            found = await reconciler().shown(view.ids["id"])
        except UsageError as error:
            raise Refusal(404, f"{error}.") from None
        return Content(f"{found['account']}, {found['from']} to {found['to']}", _one(view, found))

    async def tile(view: "View") -> Tile | None:
        del view
        found = await reconciler().newest(_MOST_IDS)
        bad = [one for one in found if is_drift(one)]
        return (
            Tile("Bills", f"{len(found):,}", f"{len(bad):,} differ from the ledger", bad=bool(bad)) if found else None
        )

    return [
        Page("reconcile", "Reconcile", listed, everywhere=True, tile=tile),
        Page("reconcile/{id}", "", shown, everywhere=True),
    ]


def _calendar(found: Mapping[str, Mapping[str, str]], today: date) -> h.Node:
    days = [today - _DAY * number for number in range(_DAYS, 0, -1)]
    if not found:
        return None
    head = ("Bill", *(f"{day:%d}" for day in days))
    rows = [
        (name, *(_cell(name, day, by_day.get(day.isoformat())) for day in days))
        for name, by_day in sorted(found.items())
    ]
    legend = ", ".join(f"{mark} {_WORDS[status]}" for status, mark in _MARKS.items())
    return card(f"{days[0]} to {days[-1]}", table("Days", head, rows), h.p(".quiet")[f"{legend}."])


def _cell(name: str, day: date, status: str | None) -> h.Node:
    if status is None:
        return h.span(".quiet", title=f"{name}, {day}: not compared")["\N{MIDDLE DOT}"]
    return h.span(class_=_COLOURS.get(status, "bad"), title=f"{name}, {day}: {_WORDS[status]}")[_MARKS[status]]


def _summary(view: "View", one: Mapping[str, Any]) -> tuple[h.Node, ...]:
    made = int(datetime.fromisoformat(one["made_at"]).timestamp() * 1000)
    return (
        h.a(href=view.url(f"/reconcile/{quote(one['id'])}"))[one["id"]],
        one["account"],
        f"{one['from']} to {one['to']}",
        _status(one["status"]),
        f"${Decimal(one['drift_usd']):,f}",
        one["source"],
        moment(made, view.now),
    )


def _status(status: str) -> h.Node:
    return h.span(class_=_COLOURS.get(status, "bad"), title=_WORDS.get(status, ""))[status.replace("_", " ")]


def _one(view: "View", found: "Document") -> list[h.Node]:
    counts = ", ".join(f"{number:,} {status.replace('_', ' ')}" for status, number in found["statuses"].items())
    pairs: list[tuple[str, h.Node]] = [
        ("Status", _status(found["status"])),
        ("Rows", counts or "none"),
        ("Drift", f"${Decimal(found['drift_usd']):,f}"),
        ("By", found["source"]),
        ("Made", found["made_at"]),
        ("SHA-256 of the figures", found["source_sha256"]),
        ("Other traffic", f"{found['other_traffic']['rows']:,} rows, ${found['other_traffic']['usd']}"),
        ("Notes", " ".join(found["notes"])),
    ]
    order = {status: place for place, status in enumerate(WORST)}
    rows = sorted(found["rows"], key=lambda row: (order.get(row["status"], 0), row["from"], row["model"], row["kind"]))
    columns = (
        "Days",
        "Model",
        "Kind",
        "Status",
        "Ours>",
        "Vendor>",
        "Ours USD>",
        "Vendor USD>",
        "Why",
        "Next",
        "Batches",
    )
    cells = [_row(view, found, row) for row in rows]
    empty, elsewhere = "Neither side has any batches.", "rows are in the document"
    return [
        card("This reconciliation", facts(pairs)),
        card("Rows", table("Rows", columns, cells, empty=empty, elsewhere=elsewhere)),
        _unmatched(found),
        _untracked(view, found),
    ]


def _row(view: "View", found: "Document", row: Mapping[str, Any]) -> tuple[h.Node, ...]:
    days = row["from"] if row["from"] == row["to"] else f"{row['from']} to {row['to']}"
    ours = f"{row['ours']:,}" if "at_least" not in row else f"{row['at_least']:,} to {row['ours']:,}"
    vendor = "unknown" if row["vendor"] is None else f"{Decimal(row['vendor']):,f}"
    batches = _batches(view, found, row.get("batches") or ())
    money = [h.span(".unknown")["unknown"] if usd is None else usd for usd in (row["ours_usd"], row["vendor_usd"])]
    return (days, row["model"], row["kind"], _status(row["status"]), ours, vendor, *money, row.get("why"), row.get("next"), batches)  # fmt: skip


def _batches(view: "View", found: "Document", ids: Sequence[str]) -> h.Node:
    """Links, where one account is meant."""
    accounts = found["accounts"]
    if len(accounts) != 1:
        return ", ".join(ids)
    return [[h.a(".id", href=view.batch_url(accounts[0], one))[one], " "] for one in ids]


def _unmatched(found: "Document") -> h.Node:
    if not found["unmatched"]:
        return None
    rows = [(one["item"], f"{one['rows']:,}", f"${one['usd']}", one["quantity"]) for one in found["unmatched"]]
    return card("Lines that cannot be read", table("Lines", ("Text", "Rows>", "USD>", "Quantity>"), rows))


def _untracked(view: "View", found: "Document") -> h.Node:
    del view
    if not found["untracked"]:
        return None
    rows = [
        (
            one["batch_id"],
            one["account"],
            one["status"],
            one["created_at"],
            f"{one['requests']:,}",
            h.code[one["adopt"]],
        )
        for one in found["untracked"]
    ]
    columns = ("Batch", "Account", "Status", "Created", "Requests>", "To adopt it")
    return card("Batches that nobody tracks", table("Untracked", columns, rows))
