"""Rates of one request from one row's tiers: the published ones, and those that follow from the vendor's rules.

Order for each bucket of a batch: the published batch rate; for cached tokens the vendor's own rule; else the standard
rate at the provider's usual discount, marked as estimated. A longer tier never falls back on the base tier's rate.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from batchmeter.pricing.groups import TOOLS, UNITS

from .catalogue import Numbers, Row, Tier

HALF = Decimal("0.5")
CACHED_OF = {
    "cached_input": "input",
    "cached_audio_in": "audio_in",
    "cached_image_in": "image_in",
    "cached_video_in": "video_in",
}
UNDISCOUNTED = frozenset({"input_image"})
"""Nobody publishes a batch price for images that are billed apiece: the whole price, and an estimate."""
OUTPUTS = frozenset({"output", "audio_out", "image_out", "video_out"})


@dataclass
class Derived:
    """Rates by bucket, and which of them nobody published."""

    rates: dict[str, Decimal]
    estimated: set[str] = field(default_factory=set[str])


def tier_for(row: Row, prompt_over: int) -> Tier:
    """The tier that prices the whole request."""
    return max((tier for tier in row.tiers if tier.over <= prompt_over), key=lambda tier: tier.over)


def standard_rates(row: Row, prompt_over: int) -> Derived:
    """Rates outside a batch; a bucket that a longer tier does not name grows as its input (or output) does."""
    base, tier = row.tiers[0], tier_for(row, prompt_over)
    found = Derived(dict(tier.standard))
    for bucket, rate in base.standard.items():
        if bucket in found.rates:
            continue
        if bucket in UNITS:
            found.rates[bucket] = rate
        elif (scaled := _scaled(rate, _lead(tier.standard, bucket), _lead(base.standard, bucket))) is not None:
            found.rates[bucket] = scaled
            found.estimated.add(bucket)
    return found


def batch_rates(row: Row, prompt_over: int, factor: Decimal | None) -> Derived:
    """Rates inside a batch."""
    tier = tier_for(row, prompt_over)
    standard = standard_rates(row, prompt_over)
    found = Derived(dict(tier.batch))
    if tier is row.tiers[0]:
        _discount(found, standard, {}, factor, row.cached)
    else:
        base = batch_rates(row, 0, factor)
        ratios = {
            bucket: (rate, row.tiers[0].standard[bucket])
            for bucket, rate in base.rates.items()
            if row.tiers[0].standard.get(bucket)
        }
        _discount(found, standard, ratios, factor, row.cached)
    _cached(found, standard, row.cached)
    return found


def _discount(
    found: Derived, standard: Derived, ratios: dict[str, tuple[Decimal, Decimal]], factor: Decimal | None, rule: str
) -> None:
    """Fill what has no batch rate: at the base tier's own ratio where there is one, else at the provider's factor."""
    for bucket, rate in standard.rates.items():
        if bucket in found.rates or (bucket in CACHED_OF and rule != "discount"):
            continue
        if bucket in TOOLS or bucket in UNDISCOUNTED:
            found.rates[bucket] = rate
            found.estimated.update({bucket} & UNDISCOUNTED)
            continue
        batch, whole = ratios.get(bucket, (factor, Decimal(1)))
        if batch is not None:
            found.rates[bucket] = rate * batch / whole
            if rate:
                found.estimated.add(bucket)


def _cached(found: Derived, standard: Derived, rule: str) -> None:
    for bucket, uncached in CACHED_OF.items():
        if bucket in found.rates or rule == "none":
            continue
        if rule == "batch_input":
            if uncached in found.rates:
                found.rates[bucket] = found.rates[uncached]
                if uncached in found.estimated:
                    found.estimated.add(bucket)
        elif bucket in standard.rates:
            found.rates[bucket] = standard.rates[bucket] * (HALF if rule == "half" else 1)
            if rule == "half" or bucket in standard.estimated:
                found.estimated.add(bucket)


def _scaled(rate: Decimal, numerator: Decimal | None, denominator: Decimal | None) -> Decimal | None:
    return None if numerator is None or not denominator else rate * numerator / denominator


def _lead(rates: Numbers, bucket: str) -> Decimal | None:
    return rates.get("output" if bucket in OUTPUTS else "input")
