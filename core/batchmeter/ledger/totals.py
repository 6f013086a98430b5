"""Totals: sums over everything that was ever settled, pruned batches included, for whoever shows metrics.

Cumulative, and computed from what is stored: the same from any process, however often it is asked.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from batchmeter.events import Settlement
from batchmeter.host import Total
from batchmeter.models import LineCounts, ModelUsage

from .ledger import Ledger
from .pruned_totals import PrunedTotals

PAGE_ROWS = 200
YOUNG = timedelta(minutes=1)
"""A settlement younger than this is added anew each time: an older one may still be on its way into the ledger."""
Key = tuple[str, str, str]
"""Provider, account and status."""


class Totals:
    """Keeps what is settled for good, so that each asking reads only what is new.

    Corrections (later revisions) of what was read count from the next start on.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._reading = asyncio.Lock()
        self._base: dict[Key, Total] = {}
        self._pruned = 0
        """How many batches in `_base` were no longer in the ledger when it was begun."""
        self._after: str | None = None

    async def read(self) -> list[Total] | None:
        """None while batches are being pruned, some of which might be missed: ask again."""
        async with self._reading:
            return await self._read()

    async def _read(self) -> list[Total] | None:
        past = await self._ledger.pruned_totals()
        pruned = sum(one.batches for one in past)
        if pruned != self._pruned:
            self._base, self._pruned, self._after = _of(past), pruned, None
        totals = await self._add_up(datetime.fromtimestamp(self._ledger.now() / 1000, UTC) - YOUNG)
        meanwhile = sum(one.batches for one in await self._ledger.pruned_totals())
        return list(totals.values()) if meanwhile == pruned else None

    async def _add_up(self, settled_before: datetime) -> Mapping[Key, Total]:
        young: dict[Key, Total] | None = None
        after = self._after
        while page := await self._ledger.settlements(after=after, limit=PAGE_ROWS):
            for settlement, _ in page:
                if young is None and settlement.settled_at >= settled_before:
                    young = {key: replace(total, models=dict(total.models)) for key, total in self._base.items()}
                _add(self._base if young is None else young, settlement)
                if young is None:
                    self._after = cursor_of(settlement)
            after = cursor_of(page[-1][0])
        return self._base if young is None else young


def cursor_of(settlement: Settlement) -> str:
    """Where the next page of settlements begins; accounts may share ids."""
    return f"{settlement.account}\x1f{settlement.batch_id}"


def _of(past: Sequence[PrunedTotals]) -> dict[Key, Total]:
    return {
        (one.provider, one.account, one.status): Total(
            one.provider,
            one.account,
            one.status,
            one.batches,
            one.since,
            one.request_counts,
            dict(one.models),
            one.known,
            _rest(one.known, one.models),
            one.durations,
        )
        for one in past
    }


def _add(totals: dict[Key, Total], settlement: Settlement) -> None:
    if settlement.invented:
        return
    key = (settlement.provider, settlement.account, settlement.status)
    total = totals.setdefault(key, Total(*key))
    total.batches += 1
    total.since = settlement.settled_at if total.since is None else min(total.since, settlement.settled_at)
    total.request_counts = LineCounts(
        **{name: getattr(total.request_counts, name) + getattr(settlement.request_counts, name) for name in _COUNTS}
    )
    for model, share in settlement.models.items():
        total.models[model] = _sum(total.models.get(model), share)
    total.known += settlement.cost.known
    total.unattributed += _rest(settlement.cost.known, settlement.models)
    if settlement.times.total_seconds is not None:
        total.durations = total.durations.plus([settlement.times.total_seconds])


_COUNTS = tuple(LineCounts.model_fields)


def _rest(known: Decimal, models: Mapping[str, ModelUsage]) -> Decimal:
    return max(known - sum((share.cost for share in models.values() if share.cost is not None), Decimal(0)), Decimal(0))


def _sum(one: ModelUsage | None, other: ModelUsage) -> ModelUsage:
    if one is None:
        return other
    costs = [share.cost for share in (one, other) if share.cost is not None]
    cost = sum(costs, Decimal(0)) if costs else None
    return ModelUsage(lines=one.lines + other.lines, usage=one.usage + other.usage, cost=cost)
