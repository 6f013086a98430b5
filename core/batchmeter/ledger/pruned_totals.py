"""Pruned totals: the counts and cost of batches that were pruned, so that sums over everything do not shrink."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from pydantic import Field

from batchmeter.events import DurationTotals, Settlement
from batchmeter.models import Frozen, LineCounts, ModelUsage, Usd


class PrunedTotals(Frozen, frozen=True):
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
    durations: DurationTotals = DurationTotals()

    @classmethod
    def key_of(cls, settlement: Settlement) -> tuple[str, str, str]:
        return settlement.provider, settlement.account, settlement.status

    @classmethod
    def of(cls, settlements: Sequence[Settlement], earlier: "PrunedTotals | None" = None) -> "PrunedTotals":
        """All of one account and status, at least one."""
        provider, account, status = cls.key_of(settlements[0])
        since = min(settlement.settled_at for settlement in settlements)
        past = earlier or cls(provider=provider, account=account, status=status, since=since)
        counts, models = past.request_counts, dict(past.models)
        for settlement in settlements:
            counts = _counts(counts, settlement.request_counts)
            for model, share in settlement.models.items():
                models[model] = _sum(models.get(model, ModelUsage()), share)
        took = [settlement.times.total_seconds for settlement in settlements]
        return cls(
            provider=provider,
            account=account,
            status=status,
            batches=past.batches + len(settlements),
            since=min(past.since, since),
            request_counts=counts,
            models=models,
            known=sum((settlement.cost.known for settlement in settlements), past.known),
            durations=past.durations.plus([seconds for seconds in took if seconds is not None]),
        )


def _counts(one: LineCounts, other: LineCounts) -> LineCounts:
    return LineCounts(**{name: getattr(one, name) + getattr(other, name) for name in LineCounts.model_fields})


def _sum(one: ModelUsage, other: ModelUsage) -> ModelUsage:
    costs = [share.cost for share in (one, other) if share.cost is not None]
    cost = sum(costs, Decimal(0)) if costs else None
    return ModelUsage(
        lines=one.lines + other.lines,
        usage=one.usage + other.usage,
        cost=cost,
        known=one.known + other.known,
        unknown=dict(Counter(one.unknown) + Counter(other.unknown)),
    )
