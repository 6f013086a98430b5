"""The price book for people: every tier of one model, and what differs between two catalogues."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any

from .book import PriceBook
from .catalogue import Catalogue, Row
from .groups import BUCKETS, PriceQuery, Rates

Number = Decimal | None


@dataclass(frozen=True, slots=True)
class Listed:
    """One model's rates in one tier, as a query would get them."""

    provider: str
    model: str
    processing: str
    prompt_over: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Change:
    """One published number that two catalogues do not share."""

    provider: str
    model: str
    region: str | None
    valid_from: date | None
    processing: str
    prompt_over: int
    bucket: str
    before: Number
    after: Number


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
    """Every tier of the first `limit` models whose `provider/id` has all of the words."""
    wanted = words.lower().split()
    named = (pair for pair in book.models if all(word in "/".join(pair).lower() for word in wanted))
    return [listed for pair in islice(named, limit) for listed in show(book, PriceQuery(*pair, at=day))]


def sellers(book: PriceBook, name: str, day: date) -> list[tuple[str, str]]:
    """(provider, id) of everyone who sells this model, by the catalogue or the user's rows.

    `name` is an id, or `provider/id` as the catalogue lists it; `openai/gpt-oss-120b` is both.
    """
    provider, slash, model = name.partition("/")
    asked = [(each, name) for each in book.providers] + ([(provider, model)] if slash else [])
    return [each for each in asked if book.rates(PriceQuery(*each, at=day)) is not None]


def diff(before: Catalogue, after: Catalogue) -> Iterator[Change]:
    """Published numbers that came, went or changed, in the order of their models."""
    for provider, model in sorted({*before.models(), *after.models()}):
        old, new = (_published(catalogue.rows(provider, model)) for catalogue in (before, after))
        for key in sorted({*old, *new}, key=repr):
            if old.get(key) != new.get(key):
                region, since, processing, over, bucket = key
                yield Change(provider, model, region, since, processing, over, bucket, old.get(key), new.get(key))


_Place = tuple[str | None, date | None, str, int, str]


def _published(rows: list[Row]) -> Mapping[_Place, Decimal]:
    return {
        (row.region, row.valid_from, processing, tier.over, bucket): rate
        for row in rows
        for tier in row.tiers
        for processing, rates in (("batch", tier.batch), ("standard", tier.standard))
        for bucket, rate in rates.items()
    }


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
