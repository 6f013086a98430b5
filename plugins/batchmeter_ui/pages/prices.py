"""The price book: rates of every model whose name has the words that are looked for."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import htpy as h

from batchmeter.access import Listed, find_prices
from batchmeter.pricing.groups import BUCKETS
from batchmeter_ui.page import card
from batchmeter_ui.table import facts, table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import shortened, spaced

_MOST_MODELS, _MOST_WITH_REGIONS = 15, 5


async def show(view: View) -> Content:
    words = view.query("q")[:200]
    source = view.call.client.prices
    today = datetime.fromtimestamp(view.now / 1000, UTC).date()
    most = _MOST_MODELS if not view.query("regions") else _MOST_WITH_REGIONS
    listed = await find_prices(source, words, today, limit=most) if words else []
    found = [one for one in listed if view.query("regions") or one.rates.region is None]
    form = h.form(".card.filters", method="get", action=view.url("/prices"))[
        h.label["Model or provider", h.input(name="q", value=words, type="search")],
        h.label(".tick")[
            h.input(type="checkbox", name="regions", value="1", checked=bool(view.query("regions"))), "in all regions"
        ],
        h.button["Find"],
    ]
    result = (
        card(
            "Rates, $ per million",
            _table(found),
            h.p(".quiet")[f"As of {today}; at most {most} models. * derived from the standard price."],
        )
        if words
        else None
    )
    return Content("Prices", [form, result, _book(view, source.digest, today)])


def _book(view: View, digest: str, today: date) -> h.Node:
    built = view.host.prices_as_of
    old = None if built is None else f"{built}, {max((today - built).days, 0):,} days old"
    return card("Price book", facts([
        ("Catalogue of", old),
        ("SHA-256, with your own rows", h.code[digest]),
        ("Newer prices", ["with a newer batchmeter, or ", h.code["batchmeter prices update"]]),
    ]))  # fmt: skip


def _table(found: Sequence[Listed]) -> h.Node:
    buckets = [one for one in BUCKETS if any(one in listed.rates.usd_per_million for listed in found)]
    columns = (
        "Model",
        "Provider",
        "Processing",
        "Region",
        "Prompt",
        *(f"{spaced(one)}>" for one in buckets),
        "Origin",
        "Valid from",
        "Remarks",
    )
    return table("Rates", columns, [_row(one, buckets) for one in found], empty="No model has these words in its name.")


def _row(one: Listed, buckets: Sequence[str]) -> Sequence[h.Node]:
    rates = one.rates
    derived = rates.estimated_buckets if rates.estimated_buckets is not None else (BUCKETS if rates.estimated else ())
    cells = [
        f"{rates.usd_per_million[each]:f}{'*' if each in derived else ''}" if each in rates.usd_per_million else "–"
        for each in buckets
    ]
    over = f"over {one.prompt_over:,}" if one.prompt_over else "any"
    since = "–" if one.since is None else one.since.isoformat()
    remarks = ", ".join(rates.flags)
    return (
        shortened(one.model, 60), one.provider, one.processing, rates.region or "global", over, *cells, rates.origin,
        since, remarks,
    )  # fmt: skip


PAGE = Page("/prices", "Prices", show)
