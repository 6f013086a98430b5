"""Gauges of plugins: what `register_metrics` registers, for `/metrics` and for the otel logger; no server's library is needed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

Sample = tuple[Mapping[str, object], float]


@dataclass(frozen=True, slots=True)
class Gauge:
    """One that a plugin adds."""

    name: str
    """Such as `batchmeter_budget_left_usd`."""
    text: str
    samples: Sequence[Sample]
    """Labels and value. Keep them few: each is a series in somebody's database."""


Gather = Callable[[], Awaitable[Sequence[Gauge]]]
