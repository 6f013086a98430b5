"""The prices of a book, listed: every rate of a model, everyone who sells it, and the regions that have a price."""

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any

from batchmeter.errors import UsageError
from batchmeter.pricebook.book import PriceBook
from batchmeter.pricebook.names import GLOBAL_WORDS, vendor
from batchmeter.pricing.groups import BUCKETS, PriceQuery, Rates


@dataclass(frozen=True, slots=True)
class Listed:
    """One model's rates in one tier, as a query would get them."""

    provider: str
    model: str
    processing: str
    prompt_over: int
    rates: Rates
    since: date | None = None
    """The newest date that prices of this model and region begin at, where the catalogue says one."""


def show(book: PriceBook, query: PriceQuery) -> list[Listed]:
    """Rates of every prompt-length tier, in a batch and outside; empty where no row prices this model."""
    listed: list[Listed] = []
    for processing in ("batch", "standard"):
        for over in (0, *book.boundaries):
            rates = book.rates(replace(query, prompt_over=over, processing=processing))
            if rates is not None and (not listed or _differs(listed[-1], processing, rates)):
                listed.append(Listed(query.provider, query.model, processing, over, rates))
    return listed


def _differs(last: Listed, processing: str, rates: Rates) -> bool:
    return last.processing != processing or dict(last.rates.usd_per_million) != dict(rates.usd_per_million)


def search(book: PriceBook, words: str, day: date, limit: int) -> list[Listed]:
    """Every region and tier of the first `limit` models whose `provider/id` has all of the words."""
    wanted = words.lower().split()
    own = {(provider, model) for provider, _, model in (name.partition("/") for name in book.user.by_name)}
    models = sorted({*book.catalogue.models(), *own})
    named = (pair for pair in models if all(word in "/".join(pair).lower() for word in wanted))
    found: list[Listed] = []
    for pair in islice(named, limit):
        rows = [row for row in book.catalogue.rows(*pair) if row.covers(day)]
        regions = {row.region for row in rows} | {region for row in rows for region in row.uplift}
        for region in sorted(regions | {None}, key=lambda one: one or ""):
            since = max((row.valid_from for row in rows if row.region == region and row.valid_from), default=None)
            listed = show(book, PriceQuery(*pair, at=day, region=region))
            found += [replace(one, since=since) for one in listed if one.rates.region == region]
    return found


def sellers(book: PriceBook, name: str, day: date) -> list[tuple[str, str]]:
    """(provider, id) of everyone who sells this model, by the catalogue or the user's rows.

    `name` is an id, or `provider/id` as the catalogue lists it; `openai/gpt-oss-120b` is both.
    """
    provider, slash, model = name.partition("/")
    providers = book.catalogue.providers | {row.partition("/")[0] for row in book.user.by_name}
    pairs = [(each, name) for each in sorted(providers)] + ([(provider, model)] if slash else [])
    return [each for each in pairs if book.rates(PriceQuery(*each, at=day)) is not None]


def check_region(book: PriceBook, provider: str, region: str | None) -> None:
    """UsageError where this word names no region that the provider's prices know."""
    word = (region or "").strip().lower()
    rows = [raw for raw in book.catalogue.document["rows"] if raw["provider"] == provider]
    own = {raw["region"] for raw in rows if raw.get("region")}
    classes = own.union(*(raw.get("uplift", {}) for raw in rows))
    known = vendor(provider)
    if word in GLOBAL_WORDS | classes or (known.places is not None and known.places.fullmatch(word)):
        return
    if known.places is None and not classes and provider not in book.catalogue.providers:
        return  # nobody knows its regions
    some = [f"a place such as {known.example}"] if known.example else []
    raise UsageError(f"{provider} has no region {region!r}; it takes {', '.join(['global', *sorted(classes), *some])}")


def plain(listed: Listed) -> dict[str, Any]:
    """JSON-ready: rates as strings of plain digits, by bucket."""
    rates = listed.rates
    return {
        "provider": listed.provider,
        "model": listed.model,
        "processing": listed.processing,
        "prompt_over": listed.prompt_over,
        "usd_per_million": {b: digits(rates.usd_per_million[b]) for b in BUCKETS if b in rates.usd_per_million},
        "estimated": sorted(rates.estimated_buckets or (BUCKETS if rates.estimated else ())),
        "flags": list(rates.flags),
        "origin": rates.origin,
    }


def digits(rate: Decimal) -> str:
    """`0.13`, never `1.3E-1`."""
    text = format(rate, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
