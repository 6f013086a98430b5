"""How long batches of each account and model took: in the queue, running, and in all."""

from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Millis
from batchmeter.rounds.durations import Durations, model_of, settled

FEWEST_LEFT = 10
"""Endings from which people are told how long a batch still takes."""
_SHARES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds; None where no batch reported them."""

    p50: float | None
    p90: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Timing:
    """One account's batches of one model."""

    account: str
    model: str
    batches: int
    queue: Spread
    """Created until started."""
    run: Spread
    """Started until ended."""
    total: Spread
    """Created until ended."""


@dataclass(slots=True)
class _Series:
    batches: int = 0
    queue: "array[float]" = field(default_factory=lambda: array("d"))
    run: "array[float]" = field(default_factory=lambda: array("d"))
    total: "array[float]" = field(default_factory=lambda: array("d"))


async def timings(ledger: Ledger, *, since: Millis | None = None) -> list[Timing]:
    """Of batches settled since then, by account and model, most batches first; eight bytes a number while counting."""
    series: defaultdict[tuple[str, str], _Series] = defaultdict(_Series)
    async for settlement in settled(ledger, since):
        own = series[settlement.account, model_of(settlement)]
        own.batches += 1
        times = settlement.times
        for seconds, known in (
            (times.queue_seconds, own.queue),
            (times.run_seconds, own.run),
            (times.total_seconds, own.total),
        ):
            if seconds is not None:
                known.append(seconds)
    rows = [
        Timing(account, model, own.batches, spread(own.queue), spread(own.run), spread(own.total))
        for (account, model), own in series.items()
    ]
    return sorted(rows, key=lambda row: (-row.batches, row.account, row.model))


def spread(seconds: Sequence[float]) -> Spread:
    """Nearest-rank percentiles."""
    ordered = sorted(seconds)
    if not ordered:
        return Spread(None, None, None)
    ranks = (min(int(share * len(ordered)), len(ordered) - 1) for share in _SHARES)
    return Spread(*(ordered[rank] for rank in ranks))


def seconds_left(durations: Durations, account: str, model: str | None, age: float) -> tuple[float, float] | None:
    """Seconds that half, and nine in ten, of the batches went on that got this old; None where too few are known."""
    for name in (model, None):
        known = durations.seconds(account, name)
        if len(known) >= FEWEST_LEFT:
            rest = spread([seconds - age for seconds in known if seconds > age])
            return None if rest.p50 is None or rest.p90 is None else (rest.p50, rest.p90)
    return None
