"""How long batches waited and ran, by model: percentiles over the ledger's settlements."""

from array import array
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from batchmeter.events import Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Millis

PAGE = 500
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


async def settled(ledger: Ledger, since: Millis | None = None, *, page: int = PAGE) -> AsyncGenerator[Settlement]:
    """Every settlement's newest revision, oldest batch first."""
    after: str | None = None
    while found := await ledger.settlements(since=since, after=after, limit=page):
        for settlement, _ in found:
            yield settlement
        after = f"{found[-1][0].account}\x1f{found[-1][0].batch_id}"


def model_of(settlement: Settlement) -> str:
    """The model that answered most lines; the batch's own word where no line did."""
    most = max(settlement.models.items(), key=lambda item: item[1].lines, default=None)
    return most[0] if most else settlement.batch.model or "unknown"


def spread(seconds: Sequence[float]) -> Spread:
    """Nearest-rank percentiles."""
    ordered = sorted(seconds)
    if not ordered:
        return Spread(None, None, None)
    ranks = (min(int(share * len(ordered)), len(ordered) - 1) for share in _SHARES)
    return Spread(*(ordered[rank] for rank in ranks))
