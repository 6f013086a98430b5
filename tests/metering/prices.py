"""A price source of round numbers, so that tests of counting do not move with the catalogue."""

from dataclasses import dataclass
from decimal import Decimal

from batchmeter.pricing.groups import BUCKETS, PriceQuery, Rates

RATES = {bucket: Decimal(2**index) for index, bucket in enumerate(BUCKETS)}
"""Each bucket has a rate of its own, a power of two: no two mistakes cancel out."""


@dataclass(frozen=True)
class Flat:
    """The same rates for every model but those called `unpriced…`; ten times as much above a boundary."""

    digest: str = "flat"
    boundaries: tuple[int, ...] = (1_000, 5_000)

    def rates(self, query: PriceQuery) -> Rates | None:
        if query.model.startswith("unpriced"):
            return None
        times = {0: 1, 1_000: 10, 5_000: 100}[query.prompt_over]
        times *= 3 if query.processing == "standard" else 1
        times *= 7 if query.geo else 1
        return Rates({bucket: rate * times for bucket, rate in RATES.items()})


FLAT = Flat()
