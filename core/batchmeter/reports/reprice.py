"""Settled batches at other prices, from their stored usage groups: no second download, one correction event each."""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from batchmeter.accounts import Accounts
from batchmeter.events import Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Millis, Submission
from batchmeter.ledger.settlements import cursor_of
from batchmeter.models import Cost, ModelUsage
from batchmeter.plugins import Plugins
from batchmeter.pricing.groups import Groups, PriceSource
from batchmeter.tracker.build_events import ending_event
from batchmeter.tracker.settle import job_of

from .price_again import reprice

PAGE = 500


@dataclass(frozen=True, slots=True)
class Repriced:
    """A batch whose cost is another now."""

    account: str
    batch_id: str
    revision: int
    """The new one's number."""
    before: Cost
    after: Cost


@dataclass(frozen=True, slots=True)
class Repricer:
    """Recomputes settlements; those that change get a new revision and its correction event."""

    ledger: Ledger
    accounts: Accounts
    plugins: Plugins
    prices: PriceSource

    async def reprice(
        self,
        batch_ids: Collection[str] = (),
        *,
        since: Millis | None = None,
        dry_run: bool = False,
        account: str | None = None,
    ) -> list[Repriced]:
        """These batches (of one account), or all that were settled since; returns those whose cost differs.

        Prices are those of the day each batch ended, as the book knows them now. UnknownAccountError when an account
        is not configured here: its deployments' models are not known then.
        """
        changed: list[Repriced] = []
        async for settlement, groups in self._chosen(batch_ids, since):
            if account not in {None, settlement.account}:
                continue
            repriced = await self._reprice(settlement, groups, dry_run=dry_run)
            if repriced is not None:
                changed.append(repriced)
        return changed

    async def _reprice(self, settlement: Settlement, groups: Groups, *, dry_run: bool) -> Repriced | None:
        """None where its cost stays the same. A revision that comes in between is priced in its turn."""
        while (found := await self._revised(settlement, groups)) is not None:
            revised, submission = found
            if dry_run or await self._record(revised, groups, submission):
                return Repriced(revised.account, revised.batch_id, revised.revision, settlement.cost, revised.cost)
            newest = await self.ledger.settlement(settlement.batch_id, settlement.account)
            if newest is None or newest[0].revision == settlement.revision:
                break  # pruned meanwhile
            settlement, groups = newest
        return None

    async def _record(self, revised: Settlement, groups: Groups, submission: Submission) -> bool:
        event = ending_event(submission, revised)
        await self.ledger.subscribe(self.plugins.subscriptions)
        return await self.ledger.revise(revised, groups, event, callbacks=self.plugins.callbacks)

    async def _chosen(
        self, batch_ids: Collection[str], since: Millis | None
    ) -> AsyncIterator[tuple[Settlement, Groups]]:
        for batch_id in batch_ids:
            for tracked in await self.ledger.batches_of_id(batch_id):
                found = await self.ledger.settlement(batch_id, tracked.account)
                if found is not None:
                    yield found
        after: str | None = None
        while not batch_ids and (page := await self.ledger.settlements(since=since, after=after, limit=PAGE)):
            for found in page:
                yield found
            after = cursor_of(page[-1][0])

    async def _revised(self, settlement: Settlement, groups: Groups) -> tuple[Settlement, Submission] | None:
        """None when the cost is the same, to the digit and the reason; or nothing was kept to price."""
        tracked = await self.ledger.get_batch(settlement.batch_id, settlement.account)
        if tracked is None or not groups:
            return None
        provider = self.accounts.get(settlement.account)
        priced = reprice(settlement, groups, job_of(provider, tracked, settlement.batch, self.prices, self.plugins))
        if _same(priced.cost, settlement.cost) and _costs(priced.models) == _costs(settlement.models):
            return None
        revised = settlement.model_copy(
            update={
                "cost": priced.cost,
                "models": priced.models,
                "rates": priced.rates,
                "request_counts": priced.lines,
                "revision": settlement.revision + 1,
                "settled_at": datetime.fromtimestamp(self.ledger.now() / 1000, UTC),
            }
        )
        return revised, tracked.submission


def _same(one: Cost, other: Cost) -> bool:
    """The book's digest is left out, and the details that older settlements lack."""
    without: dict[str, object] = {"price_book": None, "details": {}}
    return one.model_copy(update=without) == other.model_copy(update=without)


def _costs(models: Mapping[str, ModelUsage]) -> dict[str, Decimal | None]:
    return {name: share.cost for name, share in models.items()}
