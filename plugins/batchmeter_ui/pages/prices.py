"""The price book: rates of every model whose name has the words that are looked for."""

from collections.abc import Sequence
from datetime import UTC, datetime

import htpy as h

from batchmeter.access import Listed, find_prices
from batchmeter.pricing.groups import BUCKETS
from batchmeter_ui.page import Content, Page, card
from batchmeter_ui.table import table
from batchmeter_ui.view import View
from batchmeter_ui.words import shortened, spaced

_MOST_MODELS = 15


async def show(view: View) -> Content:
    words = view.query("q")[:200]
    source = view.call.client.prices
    today = datetime.fromtimestamp(view.now / 1000, UTC).date()
    found = await find_prices(source, words, today, limit=_MOST_MODELS) if words else []
    form = h.form(".card.filters", method="get", action=view.url("/prices"))[
        h.label["Model or provider", h.input(name="q", value=words, type="search")], h.button["Find"]
    ]
    result = (
        card(
            "Rates, $ per million",
            _table(found),
            h.p(".quiet")[f"As of {today}; at most {_MOST_MODELS} models. * derived from the standard price."],
        )
        if words
        else None
    )
    return Content("Prices", [form, result, h.p(".quiet")["Price book ", h.code[source.digest[:12]], "."]])


def _table(found: Sequence[Listed]) -> h.Element:
    buckets = [one for one in BUCKETS if any(one in listed.rates.usd_per_million for listed in found)]
    columns = (
        "Model",
        "Provider",
        "Processing",
        "Prompt",
        *(f"{spaced(one)}>" for one in buckets),
        "Origin",
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
    return (shortened(one.model, 60), one.provider, one.processing, over, *cells, rates.origin, ", ".join(rates.flags))


PAGE = Page("/prices", "Prices", show)
