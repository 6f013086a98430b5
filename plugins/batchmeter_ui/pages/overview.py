"""The overview: what was spent and on what, what is under way, what is unknown, who is owed events."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import htpy as h

from batchmeter.host import CostRow
from batchmeter_ui.chart import COLOURS, Bar, bars
from batchmeter_ui.page import Content, Page, Tile, card
from batchmeter_ui.span import Span, asked_span, chooser, invented_note
from batchmeter_ui.sums import NOTHING, is_complete, spend, unknown_costs
from batchmeter_ui.table import table
from batchmeter_ui.view import View
from batchmeter_ui.words import amount, dollars, number, share

from .batches import Opened, open_batches
from .loggers import backlog
from .unknown import worklist

log = logging.getLogger("batchmeter")

_MOST_ROWS = 8
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
    by_day, by_model, by_team, by_account, total = await asyncio.gather(
        spend(view, ("day", "model"), span),
        spend(view, ("model",), span),
        spend(view, ("team",), span),
        spend(view, ("account",), span),
        spend(view, (), span),
    )
    everything = total[0] if total else NOTHING
    unknown = await unknown_costs(view, span, invented=everything.invented)
    found = {
        "note": h.div("#note")[invented_note(shown=everything.invented)],
        "tiles": await _tiles(view, everything, opened),
        "spend": card("Spend per day, by model", _chart(span, by_day, by_model), name="spend"),
        "models": _shares(view, span, "model", by_model, everything),
        "teams": _shares(view, span, "team", by_team, everything),
        "accounts": _shares(view, span, "account", by_account, everything),
        "unknown": card(
            "Unknown cost: what to mend",
            worklist(view, unknown, most=_MOST_ROWS),
            more=h.a(href=view.url("/unknown"))["All"],
            name="unknown",
        ),
    }
    if view.identity.everywhere:
        found["loggers"] = card("Loggers", backlog(view, await view.access.subscriptions()), name="loggers")
    return found


async def _tiles(view: View, whole: CostRow, opened: Opened) -> h.Element:
    tiles: list[h.Node] = [
        _tile(
            "Spend, known",
            amount(whole.known, complete=is_complete(whole), lines=whole.unpriced_lines),
            "of settled batches",
        ),
        _tile(
            "Lines of unknown cost",
            number(whole.unpriced_lines),
            "the spend is a lower bound" if whole.unpriced_lines else "all is known",
        ),
        _tile("Open batches", opened.count, "see below"),
        _tile("Settled batches", number(whole.batches), "in this span"),
        _tile("Lines", number(whole.lines), "answers metered"),
        _tile("Saved by batch", *_saved(whole)),
    ]
    if view.identity.everywhere:
        gauges = await view.access.gauges()
        dead = sum(gauge.dead for gauge in gauges)
        tiles.append(
            _tile(
                "Deliveries given up",
                number(dead),
                h.a(href=view.url("/loggers"))["see Loggers"] if dead else "none",
                bad=dead > 0,
            )
        )
    tiles += [_tile(one.name, one.value, one.note, bad=one.bad) for one in await _added_tiles(view)]
    return h.div("#tiles.tiles")[tiles]


def _saved(whole: CostRow) -> tuple[h.Node, h.Node]:
    if whole.saved is None or whole.list_price is None:
        return "–", "no list price is known"
    off = f"{share(whole.saved, whole.list_price)} off a list price of {dollars(whole.list_price)}"
    rest = whole.lines - whole.list_lines
    return dollars(whole.saved), f"{off}; {rest:,} lines have none" if rest > 0 else off


async def _added_tiles(view: View) -> list[Tile]:
    """Those of other plugins' pages; one that fails is left out, and logged."""
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


def _tile(name: str, value: h.Node, note: h.Node, *, bad: bool = False) -> h.Element:
    return h.div(".tile")[
        h.div(".name")[name], h.div(class_="value bad" if bad else "value")[value], h.div(".note")[note]
    ]


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
