"""Gauges for the proxy's `/metrics` and the otel logger: each bucket's limit, spent, reserved and uncertain dollars."""

from typing import TYPE_CHECKING

from batchmeter_proxy.gauges import Gauge

from .book import Book
from .status import Standing, standings

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 1000
"""Buckets; those that have taken most are shown."""


async def gauges(book: Book) -> "Sequence[Gauge]":
    found = [one for budget in await book.shown() for one in await standings(book, budget)]
    found.sort(key=lambda one: one.left - one.limit)
    return [
        Gauge(f"batchmeter_budget_{name}_{unit}", text, _samples(found[:_MOST], name, unit))
        for unit in ("usd", "tokens")
        for name, text in (
            ("limit", "What the budget's period may take."),
            ("spent", "What its ended batches cost."),
            ("reserved", "What is held for its open batches."),
            ("uncertain", "What is held for ended batches whose cost is not known."),
        )
        if any(one.budget.settings.unit == unit for one in found)
    ]


def _samples(found: "Sequence[Standing]", name: str, unit: str) -> list[tuple[dict[str, object], float]]:
    return [
        ({"budget": one.budget.name, "bucket": one.bucket}, float(getattr(one, name)))
        for one in found
        if one.budget.settings.unit == unit
    ]
