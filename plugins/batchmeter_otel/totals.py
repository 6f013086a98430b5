"""Sums over the ledger's settlements, as metrics.

Cumulative, and computed from what is stored: an export that is lost heals with the next, one that is repeated changes
nothing, and several processes over one ledger report the same series.
"""

import bisect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from batchmeter.events import Settlement
from batchmeter.models import ModelUsage

from . import semconv
from .attributes import provider_name
from .spans import nanoseconds

if TYPE_CHECKING:
    from batchmeter.ledger.pruned_totals import Durations, PrunedTotals

BOUNDS = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 43200, 64800, 82800, 86400, 90000)
"""Seconds; from one minute to just over the usual window of a day."""
INSTRUMENTS = {
    "batchmeter.batch.count": ("{batch}", "Batches that ended"),
    "batchmeter.batch.requests": ("{request}", "Requests in ended batches"),
    "batchmeter.batch.tokens": ("{token}", "Tokens of ended batches; cache_read is part of input, reasoning of output"),
    "batchmeter.batch.cost": ("{USD}", "Known cost of ended batches"),
}
DURATION = "batchmeter.batch.duration"

Series = tuple[tuple[str, str], ...]
"""Attributes, hashable. Never a batch id, file id or user: their number has no bound."""


@dataclass(slots=True)
class Buckets:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    sum: float = 0.0
    low: float = float("inf")
    high: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds
        self.low, self.high = min(self.low, seconds), max(self.high, seconds)

    def add_all(self, past: "Durations") -> None:
        """The bounds are whole minutes."""
        for minutes, batches in past.minutes.items():
            self.counts[bisect.bisect_left(BOUNDS, minutes * 60)] += batches
        self.sum += past.seconds
        self.low, self.high = min(self.low, past.shortest), max(self.high, past.longest)

    def copy(self) -> "Buckets":
        return Buckets(self.counts.copy(), self.sum, self.low, self.high)


def _zeros() -> dict[str, defaultdict[Series, Decimal]]:
    return {name: defaultdict(Decimal) for name in INSTRUMENTS}


@dataclass(slots=True)
class Totals:
    """What all settlements so far add up to."""

    sums: dict[str, defaultdict[Series, Decimal]] = field(default_factory=_zeros)
    durations: dict[Series, Buckets] = field(default_factory=dict[Series, Buckets])
    since: datetime | None = None
    """When the first batch was settled: where the sums begin."""

    def copy(self) -> "Totals":
        sums = {name: defaultdict(Decimal, series) for name, series in self.sums.items()}
        return Totals(sums, {series: buckets.copy() for series, buckets in self.durations.items()}, self.since)

    @classmethod
    def of(cls, past: "Sequence[PrunedTotals]") -> "Totals":
        totals = cls()
        for one in past:
            ended = totals._add(one, one.since, one.known, one.batches)
            if one.durations.minutes:
                totals.durations.setdefault(ended, Buckets()).add_all(one.durations)
        return totals

    def add(self, settlement: Settlement) -> None:
        ended = self._add(settlement, settlement.settled_at, settlement.cost.known, 1)
        if settlement.times.total_seconds is not None:
            self.durations.setdefault(ended, Buckets()).add(settlement.times.total_seconds)

    def _add(self, sums: "Settlement | PrunedTotals", since: datetime, known: Decimal, batches: int) -> Series:
        """All but the durations; returns the series that those belong to."""
        self.since = since if self.since is None else min(self.since, since)
        base = {semconv.PROVIDER: provider_name(sums.provider), semconv.ACCOUNT: sums.account}
        ended = {**base, semconv.BATCH_STATUS: sums.status}
        self._count("batch.count", ended, batches)
        for outcome in ("succeeded", "failed", "malformed", "unpriced"):
            self._count("batch.requests", {**ended, semconv.OUTCOME: outcome}, getattr(sums.request_counts, outcome))
        self._add_models(sums.models, known, base)
        return _series(ended)

    def _add_models(self, models: Mapping[str, ModelUsage], rest: Decimal, base: dict[str, str]) -> None:
        """`rest` is the known cost, of which what belongs to models is taken off."""
        for model, share in models.items():
            named = {**base, semconv.RESPONSE_MODEL: model}
            kinds = {
                "input": share.usage.input_tokens,
                "output": share.usage.output_tokens,
                "cache_read": share.usage.cached_input_tokens,
                "reasoning": share.usage.reasoning_tokens,
            }
            for kind, tokens in kinds.items():
                self._count("batch.tokens", {**named, semconv.TOKEN_TYPE: kind}, tokens)
            self._count("batch.cost", named, share.known)
            rest -= share.known
        if rest > 0:  # older settlements do not say of which model it is known
            self._count("batch.cost", {**base, semconv.RESPONSE_MODEL: "unknown"}, rest)

    def _count(self, name: str, attributes: dict[str, str], amount: Decimal | int) -> None:
        if amount:
            self.sums[f"batchmeter.{name}"][_series(attributes)] += amount

    def metrics(self, now: datetime) -> list[Metric]:
        start, at = nanoseconds(self.since or now), nanoseconds(now)
        found = [
            Metric(name, text, unit, Sum(_points(self.sums[name], start, at), AggregationTemporality.CUMULATIVE, True))
            for name, (unit, text) in INSTRUMENTS.items()
            if self.sums[name]
        ]
        if self.durations:
            points = [_histogram(series, buckets, start, at) for series, buckets in self.durations.items()]
            data = Histogram(points, AggregationTemporality.CUMULATIVE)
            found.append(Metric(DURATION, "From a batch's creation to its end", "s", data))
        return found


def _points(sums: dict[Series, Decimal], start: int, at: int) -> list[NumberDataPoint]:
    return [NumberDataPoint(dict(series), start, at, _number(amount)) for series, amount in sums.items()]


def _number(amount: Decimal) -> int | float:
    return int(amount) if amount == amount.to_integral_value() and amount.as_tuple().exponent == 0 else float(amount)


def _histogram(series: Series, buckets: Buckets, start: int, at: int) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=dict(series),
        start_time_unix_nano=start,
        time_unix_nano=at,
        count=sum(buckets.counts),
        sum=buckets.sum,
        bucket_counts=buckets.counts,
        explicit_bounds=BOUNDS,
        min=buckets.low,
        max=buckets.high,
    )


def _series(attributes: dict[str, str]) -> Series:
    return tuple(sorted(attributes.items()))
