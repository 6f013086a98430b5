"""The overview: what was spent and on what, what is under way, what is unknown, who is owed events."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import htpy as h

from batchmeter.access import Subscribed
from batchmeter.host import CostRow
from batchmeter_ui.chart import COLOURS, Bar, bars
from batchmeter_ui.live import fingerprint, render
from batchmeter_ui.page import card, tiles
from batchmeter_ui.piece import Piece
from batchmeter_ui.span import Span, asked_span, chooser, invented_note
from batchmeter_ui.sums import is_complete, query, query_before, spend_all, summed, summed_by, unknown_costs
from batchmeter_ui.table import table
from batchmeter_ui.view import Content, Page, Tile, View
from batchmeter_ui.words import dollars, number, share, spent

from .batches import Opened, open_batches
from .loggers import backlog
from .unknown import worklist

log = logging.getLogger("batchmeter")

_MOST_ROWS = 8
_MOST_DAYS, _MOST_WEEKS = 62, 106
"""Bars of a chart by day and by week, so that its page has no more than 1,500 elements."""
_OTHER = "other"
_NO_NAME = "(none)"


async def show(view: View) -> Content:
    span = asked_span(view)
    found = render(await parts(view))
    body: list[h.Node] = [
        chooser(view, span, "/"),
        *(found[name] for name in ("note", "tiles", "spend", "open")),
        h.div(".columns")[(part for name, part in found.items() if name not in {"note", "tiles", "spend", "open"})],
    ]
    return Content("Overview", body, stream=view.url("/live", seen=fingerprint(found), **span.query))


async def parts(view: View, *, whole: bool = True) -> dict[str, h.Node]:
    """Cards by name."""
    opened = await open_batches(view, limit=13)
    all_open = h.a(href=view.url("/batches", settled="no"))["All"]
    batches: dict[str, h.Node] = {"open": card("Open batches", opened.table, more=all_open, name="open")}
    return {**await _sums(view, opened), **batches} if whole else batches


async def _sums(view: View, opened: Opened) -> dict[str, h.Node]:
    span = asked_span(view)
    before = _before(span)
    queries = [query(view, (by,), span, most=_MOST_ROWS) for by in ("team", "account", "key")]
    by_period, by_team, by_account, by_key, by_status, past, older = await spend_all(
        view,
        query(view, (_per(span), "model"), span),
        *queries,
        query(view, ("status",), span),
        query(view, (), before),
        query_before(view, before.first),
    )
    whole, by_model = summed(by_status), summed_by("model", by_period)
    failed = sum(one.batches for one in by_status if one.group in {"failed", "expired"})
    unknown = await unknown_costs(view, span, invented=whole.invented)
    loggers = await view.access.subscriptions() if view.identity.everywhere else None
    change = _change(span, whole, past) if older else None
    found: dict[str, h.Node] = {
        "note": h.div("#note")[invented_note(shown=whole.invented)],
        "tiles": await _tiles(view, whole, failed, opened, change, loggers),
        "spend": _chart(span, by_period, by_model),
        "models": _shares(view, span, "model", by_model, whole),
        "teams": _shares(view, span, "team", by_team, whole),
        "accounts": _shares(view, span, "account", by_account, whole),
        "keys": _shares(view, span, "key", by_key, whole) if any(one.group for one in by_key) else h.div("#keys"),
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


def _per(span: Span) -> str:
    """A bar for each day would be too many of a year."""
    days = len(span.dates)
    return "day" if days <= _MOST_DAYS else "week" if days <= _MOST_WEEKS * 7 else "month"


def _before(span: Span) -> Span:
    """The same number of days just before."""
    return Span(span.first - timedelta(days=len(span.dates)), span.first - timedelta(days=1), None)


async def _tiles(
    view: View, whole: CostRow, failed: int, opened: Opened, before: h.Node, loggers: Sequence[Subscribed] | None
) -> h.Node:
    lower = "the spend is a lower bound" if whole.unpriced_lines else "all is known"
    shown = [
        Tile("Spend, known", spent(whole), before or "of settled batches"),
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


def _change(span: Span, whole: CostRow, past: Sequence[CostRow]) -> h.Node:
    """Against as many days before, where all is known of both; the caller knows that batches were settled earlier still."""
    if not past or not past[0].known or past[0].invented != whole.invented:
        return None
    if not (is_complete(whole) and is_complete(past[0])):
        return None
    change = 100 * (whole.known - past[0].known) / past[0].known
    return f"{change:+,.0f} % on the {len(span.dates)} days before"


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


def _chart(span: Span, by_period: Sequence[CostRow], by_model: Sequence[CostRow]) -> h.Node:
    per = _per(span)
    title = f"Spend per {per}, by model"
    if not by_period:
        return card(title, h.p(".quiet")["No batch was settled in this span."], name="spend")
    names = [one.group or _NO_NAME for one in by_model if one.known > 0][: COLOURS - 1]
    parts: defaultdict[str, defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    unknown: defaultdict[str, int] = defaultdict(int)
    for one in by_period:
        period, model = one.groups[per] or "", one.groups["model"] or _NO_NAME
        unknown[period] += one.unpriced_lines
        if one.known > 0:
            parts[period][model if model in names else _OTHER] += one.known
    if any(_OTHER in found for found in parts.values()):
        names.append(_OTHER)
    drawn = [Bar(day, parts.get(name, {}), unknown[name]) for name, day in span.periods(per).items()]
    cut = f"A bar is a {per}; the first and the last have only the days of this span." if per != "day" else None
    return card(title, bars(title, names, drawn, per=per), cut and h.p(".quiet")[cut], name="spend")


_NAMED, _UNNAMED = Piece('<a href="%s">%s</a>'), Piece('<span class="quiet">%s</span>')(_NO_NAME)
_ALL = Piece('<a href="%s">All</a>')


def _shares(view: View, span: Span, by: str, sums: Sequence[CostRow], whole: CostRow) -> h.Node:
    title = f"By {by}"
    return card(
        title,
        table(
            title,
            (by.title(), "Spend>", "Share>", "Batches>", "Lines>", "$ / 1k lines>"),
            [_share_row(view, by, one, whole) for one in sums[:_MOST_ROWS]],
            empty="No batch was settled in this span.",
        ),
        more=_ALL(view.url("/spend", by=by, **span.query)),
        name=f"{by}s",
    )


def _share_row(view: View, by: str, one: CostRow, whole: CostRow) -> Sequence[h.Node]:
    name = one.group
    shown = _NAMED(view.url("/batches", **{by: name}), name) if name else _UNNAMED
    priced = one.lines - one.unpriced_lines
    each = dollars(one.known * 1000 / priced) if priced > 0 and one.known > 0 else "–"
    return (shown, spent(one), share(one.known, whole.known), number(one.batches), number(one.lines), each)


PAGE = Page("/", "Overview", show, live=parts)
