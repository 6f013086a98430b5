"""The overview: what was spent and on what, what is under way, what is unknown, who is owed events."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import htpy as h

from batchmeter.access import Subscribed
from batchmeter.host import CostRow
from batchmeter_ui.chart import COLOURS, Bar, bars
from batchmeter_ui.page import card, tiles
from batchmeter_ui.span import Span, asked_span, chooser, invented_note
from batchmeter_ui.sums import NOTHING, is_complete, settled_before, spend, unknown_costs
from batchmeter_ui.table import table
from batchmeter_ui.view import Content, Page, Tile, View
from batchmeter_ui.words import amount, dollars, number, share

from .batches import Opened, open_batches
from .loggers import backlog
from .unknown import worklist

log = logging.getLogger("batchmeter")

_MOST_ROWS = 8
_SHARED = ("model", "team", "account", "key")
_OTHER = "other"
_NO_NAME = "(none)"


async def show(view: View) -> Content:
    span = asked_span(view)
    found = await parts(view)
    body: list[h.Node] = [
        chooser(view, span, "/"),
        *(found[name] for name in ("note", "tiles", "spend", "open")),
        h.div(".columns")[(part for name, part in found.items() if name not in {"note", "tiles", "spend", "open"})],
    ]
    return Content("Overview", body, stream=view.url("/live", **span.query))


async def parts(view: View, *, whole: bool = True) -> dict[str, h.Element]:
    """Cards by name."""
    opened = await open_batches(view, limit=13)
    all_open = h.a(href=view.url("/batches", settled="no"))["All"]
    batches = {"open": card("Open batches", opened.table, more=all_open, name="open")}
    return {**await _sums(view, opened), **batches} if whole else batches


async def _sums(view: View, opened: Opened) -> dict[str, h.Element]:
    span = asked_span(view)
    by_day, by_model, by_team, by_account, by_key, by_status, total = await asyncio.gather(
        spend(view, ("day", "model"), span),
        *(spend(view, (by,), span) for by in (*_SHARED, "status")),
        spend(view, (), span),
    )
    failed = sum(one.batches for one in by_status if one.group in {"failed", "expired"})
    everything = total[0] if total else NOTHING
    unknown = await unknown_costs(view, span, invented=everything.invented)
    loggers = await view.access.subscriptions() if view.identity.everywhere else None
    change = await _change(view, span, everything)
    found = {
        "note": h.div("#note")[invented_note(shown=everything.invented)],
        "tiles": await _tiles(view, everything, failed, opened, change, loggers),
        "spend": card("Spend per day, by model", _chart(span, by_day, by_model), name="spend"),
        "models": _shares(view, span, "model", by_model, everything),
        "teams": _shares(view, span, "team", by_team, everything),
        "accounts": _shares(view, span, "account", by_account, everything),
        "keys": _shares(view, span, "key", by_key, everything) if any(one.group for one in by_key) else h.div("#keys"),
        "unknown": card(
            "Unknown cost: what to mend",
            worklist(view, unknown, most=_MOST_ROWS),
            more=h.a(href=view.url("/unknown"))["All, and what helps"],
            name="unknown",
        ),
    }
    if loggers is not None:
        found["loggers"] = card("Loggers", backlog(view, loggers), name="loggers")
    return found


async def _tiles(
    view: View, whole: CostRow, failed: int, opened: Opened, before: h.Node, loggers: Sequence[Subscribed] | None
) -> h.Element:
    lower = "the spend is a lower bound" if whole.unpriced_lines else "all is known"
    known = amount(whole.known, complete=is_complete(whole), lines=whole.unpriced_lines)
    shown = [
        Tile("Spend, known", known, before or "of settled batches"),
        Tile("Lines of unknown cost", number(whole.unpriced_lines), lower),
        Tile("Open batches", opened.count, "see below"),
        Tile("Settled batches", number(whole.batches), _failed(view, failed)),
        Tile("Lines", number(whole.lines), "answers metered"),
        Tile("Saved by batch", *_saved(whole)),
    ]
    if loggers is not None:
        dead = sum(one.dead for one in loggers)
        note = h.a(href=view.url("/loggers"))["see Loggers"] if dead else "none"
        shown.append(Tile("Deliveries given up", number(dead), note, bad=dead > 0))
    return h.div("#tiles")[tiles([*shown, *await _added_tiles(view)])]


def _failed(view: View, failed: int) -> h.Node:
    if not failed:
        return "none failed or expired"
    return h.a(href=view.url("/batches", failures="1"))[f"{failed:,} failed or expired"]


async def _change(view: View, span: Span, whole: CostRow) -> h.Node:
    """Against as many days before, where batches were settled earlier still, and all is known of both."""
    days = (span.last - span.first).days + 1
    earlier = Span(span.first - timedelta(days=days), span.first - timedelta(days=1), None)
    if not is_complete(whole) or not await settled_before(view, earlier.first):
        return None
    found = await spend(view, (), earlier)
    if not found or not found[0].known or not is_complete(found[0]) or found[0].invented != whole.invented:
        return None
    change = 100 * (whole.known - found[0].known) / found[0].known
    return f"{change:+,.0f} % on the {days} days before"


def _saved(whole: CostRow) -> tuple[h.Node, h.Node]:
    if whole.saved is None or whole.list_price is None:
        return "–", "no list price is known"
    off = f"{share(whole.saved, whole.list_price)} off a list price of {dollars(whole.list_price)}"
    rest = whole.lines - whole.list_lines
    return dollars(whole.saved), f"{off}; {rest:,} lines have none" if rest > 0 else off


async def _added_tiles(view: View) -> list[Tile]:
    """Tiles of other plugins' pages; one that fails is left out, and logged."""
    found: list[Tile] = []
    for page in view.pages:
        if page.tile is None or (page.everywhere and not view.identity.everywhere):
            continue
        try:
            tile = await page.tile(view)
        except Exception:  # a plugin's tile takes no page with it
            log.exception("the tile of the page %r failed", page.path)
            continue
        found += [tile] if tile is not None else []
    return found


def _chart(span: Span, by_day: Sequence[CostRow], by_model: Sequence[CostRow]) -> h.Node:
    if not by_day:
        return h.p(".quiet")["No batch was settled in this span."]
    names = [one.group or _NO_NAME for one in by_model if one.known > 0][: COLOURS - 1]
    parts: defaultdict[date, defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    unknown: defaultdict[date, int] = defaultdict(int)
    for one in by_day:
        day, model = date.fromisoformat(one.groups["day"] or ""), one.groups["model"] or _NO_NAME
        unknown[day] += one.unpriced_lines
        if one.known > 0:
            parts[day][model if model in names else _OTHER] += one.known
    if any(_OTHER in found for found in parts.values()):
        names.append(_OTHER)
    return bars("Spend per day, by model", names, [Bar(day, parts.get(day, {}), unknown[day]) for day in span.dates])


def _shares(view: View, span: Span, by: str, sums: Sequence[CostRow], whole: CostRow) -> h.Element:
    title = f"By {by}"
    return card(
        title,
        table(
            title,
            (by.title(), "Spend>", "Share>", "Batches>", "Lines>", "$ / 1k lines>"),
            [_share_row(view, by, one, whole) for one in sums[:_MOST_ROWS]],
            empty="No batch was settled in this span.",
        ),
        more=h.a(href=view.url("/spend", by=by, **span.query))["All"],
        name=f"{by}s",
    )


def _share_row(view: View, by: str, one: CostRow, whole: CostRow) -> Sequence[h.Node]:
    name = one.group
    shown = h.a(href=view.url("/batches", **{by: name}))[name] if name else h.span(".quiet")[_NO_NAME]
    priced = one.lines - one.unpriced_lines
    each = dollars(one.known * 1000 / priced) if priced > 0 and one.known > 0 else "–"
    spent = amount(one.known, complete=is_complete(one), lines=one.unpriced_lines)
    return (shown, spent, share(one.known, whole.known), number(one.batches), number(one.lines), each)


PAGE = Page("/", "Overview", show, live=parts)
