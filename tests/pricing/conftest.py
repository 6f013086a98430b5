"""One price book for all, and short ways to ask it."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from batchmeter.pricebook.book import PriceBook
from batchmeter.pricing.groups import PriceQuery, Rates

AT = date(2026, 11, 10)
Ask = Callable[..., Rates | None]


@pytest.fixture(scope="session")
def book() -> PriceBook:
    return PriceBook()


@pytest.fixture
def ask(book: PriceBook) -> Ask:
    """`ask("openai/gpt-4o", at="2026-01-01", region="eu")` -> Rates or None."""

    def rates(name: str, *, of: PriceBook = book, at: str | date = AT, **fields: Any) -> Rates | None:
        provider, _, model = name.partition("/")
        day = date.fromisoformat(at) if isinstance(at, str) else at
        return of.rates(PriceQuery(provider, model, day, **fields))

    return rates


def prices(rates: Rates | None, *buckets: str) -> list[Decimal | None]:
    """These buckets' rates."""
    assert rates is not None
    return [rates.usd_per_million.get(bucket) for bucket in buckets]


def decimals(*texts: str) -> list[Decimal]:
    return [Decimal(text) for text in texts]
