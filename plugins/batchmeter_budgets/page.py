"""The budgets' pages: how each stands, and one with its days, its projection and what is reserved."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

import htpy as h

from batchmeter.errors import UsageError
from batchmeter_proxy import Refusal
from batchmeter_ui.chart import Bar, bars
from batchmeter_ui.page import card, moment
from batchmeter_ui.table import facts, table
from batchmeter_ui.view import Content, Page, Tile

from .events import dollars
from .page_edit import edit_page
from .periods import instant
from .status import Standing, days, projected, standings

if TYPE_CHECKING:
    from batchmeter_ui import View

    from .book import Budget
    from .opened import OpenBudgets

_WIDE, _TALL = 240, 12
_MOST_ROWS, _MOST_BUCKETS, _MOST_OF_EACH = 80, 50, 10
_NEAR = Decimal("0.8")
SPENT, HELD = "spent", "held"
_ELSEWHERE = {"config": "the configuration", "limit": "a key or an account"}
"""Where budgets are set that no page changes."""


def pages(plugin: "OpenBudgets") -> list[Page]:
    """`/ui/budgets` and `/ui/budgets/{name}`, for those who see everything."""

    async def listed(view: "View") -> Content:
        found = [await standings(plugin.book, one, most=_MOST_OF_EACH) for one in await _sorted(plugin)]
        rows = [_row(view, one) for each in found for one in each][:_MOST_ROWS]
        cut = len(rows) == _MOST_ROWS or any(len(each) == _MOST_OF_EACH for each in found)
        columns = ("Budget", "Taken", "Left>", "Limit>", "Spent>", "Uncertain>", "Reserved>", "Until")
        empty = "No budget yet: set [plugins.budgets.NAME], or `batchmeter budgets set`."
        note = h.p(".quiet")["A batch counts in the period that it was submitted in, whenever it ends."]
        more = (
            h.p(".quiet")["Of each budget, some of its fullest buckets: its page and the API have more."]
            if cut
            else None
        )
        return Content("Budgets", card("Budgets", table("Budgets", columns, rows, empty=empty), more, note))

    async def shown(view: "View") -> Content:
        try:
            budget = await plugin.book.find(view.ids["name"])
        except UsageError as error:
            raise Refusal(404, f"{error}.") from None
        wanted = view.query("bucket")
        found = await standings(plugin.book, budget, most=_MOST_BUCKETS)
        if wanted and all(one.bucket != wanted for one in found):
            rest = await standings(plugin.book, budget, [wanted])
            found = [*(one for one in rest if one.bucket == wanted), *found]
        chosen = next((one for one in found if one.bucket == wanted), found[0] if found else None)
        parts = [] if chosen is None else await _one(plugin, chosen, view)
        own = view.may_act and budget.source not in _ELSEWHERE
        edit = h.a(href=view.url(f"/budgets/{quote(budget.name)}/edit"))["Change…"] if own else None
        return Content(budget.name, [_about(budget, edit), _buckets(view, found, chosen), *parts])

    async def tile(view: "View") -> Tile | None:
        found = [one for each in await _sorted(plugin) for one in await standings(plugin.book, each, most=1)]
        limited = [one for one in found if one.limit]
        if not limited:
            return None
        nearest = max(limited, key=share_used)
        where = h.a(href=view.url(f"/budgets/{quote(nearest.budget.name)}", bucket=nearest.bucket))[nearest.name]
        return Tile(
            "Nearest its limit", f"{share_used(nearest):.0%}", ["budget ", where], bad=share_used(nearest) >= _NEAR
        )

    return [
        Page("budgets", "Budgets", listed, everywhere=True, tile=tile),
        Page("budgets/{name}", "", shown, everywhere=True),
        edit_page(plugin),
    ]


def share_used(one: Standing) -> Decimal:
    """The part of its limit that is spent, uncertain or reserved."""
    return (one.limit - one.left) / one.limit if one.limit else Decimal(1)


async def _sorted(plugin: "OpenBudgets") -> "Sequence[Budget]":
    await plugin.book.reload()
    return await plugin.book.shown()


async def _one(plugin: "OpenBudgets", one: Standing, view: "View") -> list[h.Node]:
    rows = await plugin.book.tables.rows(
        "reservations", budget_id=one.budget.id, bucket=one.bucket, start=one.period.start, limit=_MOST_ROWS
    )
    found = [
        (
            h.a(".id", href=view.batch_url(row["account"], row["batch_id"]))[row["batch_id"]]
            if row["batch_id"]
            else None,
            row["state"].replace("_", " "),
            _money(one, one.budget.amount(row["amount"])),
            _money(one, one.budget.amount(row["known"], row["known_atto"])),
            _money(one, one.budget.amount(row["uncertain"])),
            row["who"],
            row["basis"],
            moment(row["created_at"], view.now),
        )
        for row in rows
    ]
    columns = ("Batch", "State", "Reserved>", "Cost>", "Uncertain>", "By", "Basis", "Submitted")
    return [
        await _burn_down(plugin, one),
        card(
            f"Batches of this period{f', the newest {_MOST_ROWS}' if len(found) == _MOST_ROWS else ''}",
            table("Batches", columns, found, empty="None yet."),
        ),
    ]


async def _burn_down(plugin: "OpenBudgets", one: Standing) -> h.Node:
    """The rest after each day, of batches submitted until then; and where the pace leads."""
    if one.period.end is None or one.budget.tokens:
        return None
    spends = await days(plugin.book, one)
    first = instant(one.period.start).date()
    last = max(spends, default=-1)
    today = (plugin.book.host.now() - one.period.start) // 86_400_000
    left, drawn = one.limit, list[Bar]()
    for day in range(max(last, int(today)) + 1):
        spent, held = spends.get(day, (Decimal(0), Decimal(0)))
        left -= spent + held
        parts = {"left": max(left, Decimal(0)), SPENT: spent, HELD: held}
        drawn.append(Bar(first + timedelta(days=day), parts))
    likely = await projected(plugin.book, one)
    text = (
        "There is no pace yet."
        if likely is None
        else f"At this pace {dollars(likely)} of {dollars(one.limit)} at the end."
    )
    return card("Days", bars("Left after each day", ("left", SPENT, HELD), drawn), h.p(".quiet")[text])


def _about(budget: "Budget", edit: h.Node) -> h.Node:
    settings = budget.settings
    scope = ", ".join(f"{name} {value}" for name, value in sorted(settings.scope.items())) or "everything"
    source = _ELSEWHERE.get(budget.source, "API or command")
    pairs = [
        ("About", scope),
        ("Period", settings.period if not budget.tokens else "none"),
        ("Days begin in", settings.timezone),
        ("Mode", settings.mode),
        ("Reserves", settings.reserve.replace("_", " ")),
        ("Set in", source),
    ]
    return card("Settings", facts(pairs), more=edit)


def _buckets(view: "View", found: Sequence[Standing], chosen: Standing | None) -> h.Node:
    rows = [
        (
            h.a(
                href=view.url(f"/budgets/{quote(one.budget.name)}", bucket=one.bucket),
                aria_current="true" if one is chosen else None,
            )[one.name],
            *_cells(one),
        )
        for one in found
    ]
    columns = ("Bucket", "Taken", "Left>", "Limit>", "Spent>", "Uncertain>", "Reserved>", "Until")
    return card("This period", table("Buckets", columns, rows, empty="No batch counts in it yet."))


def _row(view: "View", one: Standing) -> tuple[h.Node, ...]:
    return (
        h.a(href=view.url(f"/budgets/{quote(one.budget.name)}", bucket=one.bucket))[one.name],
        *_cells(one),
    )


def _cells(one: Standing) -> tuple[h.Node, ...]:
    until = "none" if one.until is None else f"{one.until:%Y-%m-%d %H:%M}"
    amounts = (one.left, one.limit, one.spent, one.uncertain, one.reserved)
    return (_bar(one), *(_money(one, amount) for amount in amounts), until)


def _money(one: Standing, amount: Decimal) -> str:
    return f"{amount:,f}" if one.budget.tokens else dollars(amount)


def _bar(one: Standing) -> h.Node:
    """Spent, uncertain and reserved, of the limit."""
    whole = max(one.limit, one.spent + one.uncertain + one.reserved) or Decimal(1)
    x, drawn = Decimal(0), list[h.Node]()
    for place, name in enumerate(("spent", "uncertain", "reserved")):
        wide = getattr(one, name) / whole * _WIDE
        drawn.append(h.rect(class_=f"c{place}", x=f"{x:.1f}", y=0, width=f"{wide:.1f}", height=_TALL)[h.title[name]])
        x += wide
    percent = f"{share_used(one) * 100:.0f} %"
    shape = {"viewBox": f"0 0 {_WIDE} {_TALL}", "preserveAspectRatio": "none", "aria-label": f"{percent} taken"}
    return h.span(".progress")[
        h.svg(".taken", shape, role="img")[h.rect(".whole", x=0, y=0, width=_WIDE, height=_TALL), drawn], f" {percent}"
    ]
