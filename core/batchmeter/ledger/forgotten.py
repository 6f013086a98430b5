"""What pruned batches came to: sums that go on growing, for whoever adds up all that a ledger ever had."""

import math
from datetime import datetime
from decimal import Decimal

from pydantic import Field

from batchmeter.events import Settlement
from batchmeter.models import Frozen, LineCounts, ModelUsage, Usd


class Durations(Frozen, frozen=True):
    """From creation to end, of those batches of which it is known."""

    minutes: dict[int, int] = Field(default_factory=dict[int, int])
    """Minutes, begun ones counted whole -> batches."""
    seconds: float = 0.0
    shortest: float = 0.0
    longest: float = 0.0

    def plus(self, seconds: float) -> "Durations":
        minute = math.ceil(seconds / 60)
        return Durations(
            minutes={**self.minutes, minute: self.minutes.get(minute, 0) + 1},
            seconds=self.seconds + seconds,
            shortest=min(self.shortest, seconds) if self.minutes else seconds,
            longest=max(self.longest, seconds),
        )


class Forgotten(Frozen, frozen=True):
    """One account's pruned batches of one status."""

    provider: str
    account: str
    status: str
    batches: int = 0
    since: datetime
    """When the first of them was settled."""
    request_counts: LineCounts = LineCounts()
    models: dict[str, ModelUsage] = Field(default_factory=dict[str, ModelUsage])
    """The cost is that of batches in which all of the model's lines could be priced."""
    known: Usd = Decimal(0)
    durations: Durations = Durations()

    @classmethod
    def key_of(cls, settlement: Settlement) -> tuple[str, str, str]:
        return settlement.provider, settlement.account, settlement.status

    @classmethod
    def of(cls, settlement: Settlement) -> "Forgotten":
        """Nothing yet, to which it can be added."""
        provider, account, status = cls.key_of(settlement)
        return cls(provider=provider, account=account, status=status, since=settlement.settled_at)

    def plus(self, settlement: Settlement) -> "Forgotten":
        models = dict(self.models)
        for model, share in settlement.models.items():
            models[model] = _sum(models.get(model, ModelUsage()), share)
        counts = settlement.request_counts
        summed = {name: getattr(self.request_counts, name) + getattr(counts, name) for name in LineCounts.model_fields}
        took = settlement.times.total_seconds
        return self.model_copy(
            update={
                "batches": self.batches + 1,
                "since": min(self.since, settlement.settled_at),
                "request_counts": LineCounts(**summed),
                "models": models,
                "known": self.known + settlement.cost.known,
                "durations": self.durations if took is None else self.durations.plus(took),
            }
        )


def _sum(one: ModelUsage, other: ModelUsage) -> ModelUsage:
    costs = [share.cost for share in (one, other) if share.cost is not None]
    cost = sum(costs, Decimal(0)) if costs else None
    return ModelUsage(lines=one.lines + other.lines, usage=one.usage + other.usage, cost=cost)
