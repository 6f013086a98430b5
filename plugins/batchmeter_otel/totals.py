"""Sums over the ledger's settlements, as metrics.

Cumulative, and computed from what is stored: an export that is lost heals with the next, one that is repeated changes
nothing, and several processes over one ledger report the same series.
"""

import bisect
from collections import defaultdict
from collections.abc import Sequence
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

from . import semconv
from .attributes import provider_name
from .spans import nanoseconds

if TYPE_CHECKING:
    from batchmeter.events import DurationTotals
    from batchmeter.host import Total

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

    def add_all(self, past: "DurationTotals") -> None:
        """The bounds are whole minutes."""
        for minutes, batches in past.minutes.items():
            self.counts[bisect.bisect_left(BOUNDS, minutes * 60)] += batches
        self.sum += past.seconds
        self.low, self.high = min(self.low, past.shortest), max(self.high, past.longest)


Sums = dict[str, defaultdict[Series, Decimal]]


def metrics_of(totals: "Sequence[Total]", now: datetime) -> list[Metric]:
    """Every instrument with any point."""
    sums: Sums = {name: defaultdict(Decimal) for name in INSTRUMENTS}
    durations: dict[Series, Buckets] = {}
    for total in totals:
        ended = _add(sums, total)
        if total.durations.minutes:
            durations.setdefault(ended, Buckets()).add_all(total.durations)
    begun = [total.since for total in totals if total.since is not None]
    start, at = nanoseconds(min(begun, default=now)), nanoseconds(now)
    found = [
        Metric(name, text, unit, Sum(_points(sums[name], start, at), AggregationTemporality.CUMULATIVE, True))
        for name, (unit, text) in INSTRUMENTS.items()
        if sums[name]
    ]
    if durations:
        points = [_histogram(series, buckets, start, at) for series, buckets in durations.items()]
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
        found.append(Metric(DURATION, "From a batch's creation to its end", "s", data))
    return found


def _add(sums: Sums, total: "Total") -> Series:
    """All but the durations; returns the series that those belong to."""
    base = {semconv.PROVIDER: provider_name(total.provider), semconv.ACCOUNT: total.account}
    ended = {**base, semconv.BATCH_STATUS: total.status}
    _count(sums, "batch.count", ended, total.batches)
    for outcome in ("succeeded", "failed", "malformed", "unpriced"):
        amount: int = getattr(total.request_counts, outcome)
        _count(sums, "batch.requests", {**ended, semconv.OUTCOME: outcome}, amount)
    for model, share in total.models.items():
        named = {**base, semconv.RESPONSE_MODEL: model}
        kinds = {
            "input": share.usage.input_tokens,
            "output": share.usage.output_tokens,
            "cache_read": share.usage.cached_input_tokens,
            "reasoning": share.usage.reasoning_tokens,
        }
        for kind, tokens in kinds.items():
            _count(sums, "batch.tokens", {**named, semconv.TOKEN_TYPE: kind}, tokens)
        if share.cost is not None:
            _count(sums, "batch.cost", named, share.cost)
    _count(sums, "batch.cost", {**base, semconv.RESPONSE_MODEL: "unknown"}, total.unattributed)
    return _series(ended)


def _count(sums: Sums, name: str, attributes: dict[str, str], amount: Decimal | int) -> None:
    if amount:
        sums[f"batchmeter.{name}"][_series(attributes)] += amount


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
