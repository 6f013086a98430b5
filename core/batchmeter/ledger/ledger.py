"""The ledger over either engine: each method is one transaction of the module that owns its noun."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, EventType, Settlement
from batchmeter.models import Attribution, Batch, FileObject
from batchmeter.pricing.groups import Groups

from . import batches, claims, deliveries, events, files, intents, settlements, upkeep
from .forgotten import Forgotten
from .homes import Homes
from .port import (
    Claim,
    CostGauge,
    Delivery,
    DeliveryResult,
    DeliveryState,
    Intent,
    LoggerGauge,
    Millis,
    Owner,
    Reschedule,
    Settled,
    StoredEvent,
    Submission,
    Topic,
    TrackedBatch,
)
from .proxy_ledger import SqlProxyLedger
from .session import Database
from .together import Together


class SqlLedger(SqlProxyLedger):
    """What is submitted or settled commits durably; a lost poll or acknowledgement repairs itself."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.url = database.url
        self._homes = Homes()
        self._settling = Together(self._settle_all, database.of_one)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    async def open(self, *, create: bool = True) -> None:
        await self.database.open(create=create)

    async def aclose(self) -> None:
        await self._settling.aclose()
        await self.database.aclose()

    def now(self) -> Millis:
        return self.database.now()

    async def listen(self, heard: Callable[[Topic], None]) -> None:
        await self.database.listen(heard)

    async def open_intent(self, intent: Intent) -> Intent:
        return await self.database.write(lambda session: intents.open_intent(session, intent), durable=True)

    async def close_intent(self, intent_id: str, reason: str) -> None:
        await self.database.write(lambda session: intents.close_intent(session, intent_id, reason))

    async def open_intents(
        self, *, created_before: Millis, limit: int = 100, account: str | None = None
    ) -> list[Intent]:
        return await self.database.read(lambda session: intents.open_intents(session, created_before, account, limit))

    async def intent(self, intent_id: str) -> Intent | None:
        return await self.database.read(lambda session: intents.get_intent(session, intent_id))

    async def intent_of(self, account: str, idempotency_key: str) -> Intent | None:
        return await self.database.read(lambda session: intents.intent_of(session, account, idempotency_key))

    async def record_created(
        self,
        submission: Submission,
        batch: Batch,
        event: BatchCreated,
        *,
        loggers: Collection[str],
        next_poll_at: Millis,
        intent_id: str | None = None,
        durable: bool = True,
    ) -> TrackedBatch:
        made = (submission, batch, event, loggers, next_poll_at, intent_id)
        tracked = await self.database.write(lambda session: batches.record_created(session, *made), durable=durable)
        self._homes.learn(batch.id, submission.account)
        return tracked

    async def observe(self, account: str, batch: Batch) -> TrackedBatch | None:
        return await self.database.write(lambda session: batches.observe(session, account, batch))

    async def observe_endings(self, account: str, ended: Sequence[Batch]) -> set[str]:
        return await self.database.write(lambda session: batches.observe_endings(session, account, ended))

    async def wake(self, account: str, batch_id: str) -> bool:
        return await self.database.write(lambda session: batches.wake(session, account, batch_id))

    async def get_batch(self, batch_id: str, account: str | None = None) -> TrackedBatch | None:
        return await self.database.read(lambda session: batches.get_batch(session, batch_id, account))

    async def batches_of_id(self, batch_id: str) -> list[TrackedBatch]:
        return await self.database.read(lambda session: batches.batches_of_id(session, batch_id))

    async def list_batches(
        self,
        *,
        account: str | None = None,
        settled: bool | None = None,
        statuses: Collection[str] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[TrackedBatch]:
        wanted = (account, settled, statuses, after, limit)
        return await self.database.read(lambda session: batches.list_batches(session, *wanted))

    async def failed(
        self, account: str, *, since: Millis, after: str | None = None, limit: int = 1000
    ) -> list[TrackedBatch]:
        return await self.database.read(lambda session: settlements.failed(session, account, since, after, limit))

    async def claim_due(
        self, *, owner: str, limit: int, lease_seconds: float, accounts: Collection[str] | None = None
    ) -> list[Claim]:
        wanted = (owner, limit, lease_seconds, accounts)
        return await self.database.write(lambda session: claims.claim_due(session, *wanted))

    async def claim(
        self, account: str, batch_id: str, *, owner: str, lease_seconds: float, polled: int | None = None
    ) -> Claim | None:
        wanted = (account, batch_id, owner, lease_seconds, polled)
        return await self.database.write(lambda session: claims.claim(session, *wanted))

    async def renew(self, held: Sequence[Claim], *, lease_seconds: float) -> list[Claim]:
        return await self.database.write(lambda session: claims.renew(session, held, lease_seconds))

    async def reschedule(self, results: Sequence[Reschedule]) -> int:
        return await self.database.write(lambda session: claims.reschedule(session, results))

    async def put_off(self, account: str, looks: Collection[tuple[str, Millis]], *, asked: Millis) -> int:
        return await self.database.write(lambda session: claims.put_off(session, account, looks, asked))

    async def next_due_at(self, accounts: Collection[str] | None = None) -> Millis | None:
        return await self.database.read(lambda session: claims.next_due_at(session, accounts))

    async def settle(
        self,
        claim: Claim,
        settlement: Settlement,
        groups: Groups,
        event: BatchSucceeded | BatchFailed,
        *,
        loggers: Collection[str],
    ) -> bool:
        return await self._settling.add(settlements.Ending(claim, settlement, groups, event, loggers))

    async def _settle_all(self, endings: Sequence[settlements.Ending]) -> list[bool]:
        return await self.database.write(lambda session: settlements.settle_all(session, endings), durable=True)

    async def settlement(self, batch_id: str, account: str | None = None) -> tuple[Settlement, Groups] | None:
        return await self.database.read(lambda session: settlements.settlement(session, batch_id, account))

    async def settlements(
        self, *, since: Millis | None = None, after: str | None = None, limit: int = 1000
    ) -> list[tuple[Settlement, Groups]]:
        return await self.database.read(lambda session: settlements.settlements(session, since, after, limit))

    async def costs(
        self,
        *,
        since: Millis | None = None,
        until: Millis | None = None,
        key: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> list[Settled]:
        return await self.database.read(lambda session: settlements.costs(session, since, until, key, after, limit))

    async def cost_gauges(self) -> list[CostGauge]:
        return await self.database.read(upkeep.cost_gauges)

    async def revise(
        self, settlement: Settlement, groups: Groups, event: BatchSucceeded | BatchFailed, *, loggers: Collection[str]
    ) -> bool:
        revised = (settlement, groups, event, loggers)
        return await self.database.write(lambda session: settlements.revise(session, *revised), durable=True)

    async def events(
        self,
        *,
        types: Collection[EventType] | None = None,
        after: int = 0,
        since: Millis | None = None,
        batch_id: str | None = None,
        key: str | None = None,
        limit: int = 1000,
    ) -> list[StoredEvent]:
        wanted = (types, after, since, batch_id, key, limit)
        return await self.database.read(lambda session: events.events(session, *wanted))

    async def claim_deliveries(self, logger: str, *, owner: str, limit: int, lease_seconds: float) -> list[Delivery]:
        wanted = (logger, owner, limit, lease_seconds)
        return await self.database.write(lambda session: deliveries.claim_deliveries(session, *wanted))

    async def finish_deliveries(self, results: Sequence[DeliveryResult]) -> int:
        return await self.database.write(lambda session: deliveries.finish_deliveries(session, results))

    async def deliveries(
        self, *, logger: str | None = None, state: DeliveryState | None = None, limit: int = 1000
    ) -> list[Delivery]:
        return await self.database.read(lambda session: deliveries.deliveries(session, logger, state, limit))

    async def replay(self, logger: str, *, since: Millis | None = None, dead_only: bool = False) -> int:
        wanted = (logger, since, dead_only)
        return await self.database.write(lambda session: deliveries.replay(session, *wanted), durable=True)

    async def abandon(self, logger: str, *, reason: str) -> int:
        return await self.database.write(lambda session: deliveries.abandon(session, logger, reason), durable=True)

    async def next_delivery_at(self, loggers: Collection[str]) -> Millis | None:
        return await self.database.read(lambda session: deliveries.next_delivery_at(session, loggers))

    async def gauges(self) -> list[LoggerGauge]:
        return await self.database.read(deliveries.gauges)

    async def record_file(
        self, account: str, file: FileObject, *, attribution: Attribution | None = None, lines: int | None = None
    ) -> None:
        await self.database.write(lambda session: files.record_file(session, account, file, attribution, lines))
        self._homes.learn(file.id, account)

    async def account_of(self, object_id: str) -> str | None:
        account = self._homes.of(object_id)
        if account is None:
            account = await self.database.read(lambda session: files.account_of(session, object_id))
            if account is not None:
                self._homes.learn(object_id, account)
        return account

    async def owner_of(self, object_id: str, account: str | None = None) -> Owner | None:
        return await self.database.read(lambda session: files.owner_of(session, object_id, account))

    async def owners_of(self, object_ids: Collection[str], account: str | None = None) -> dict[str, Owner]:
        return await self.database.read(lambda session: files.owners_of(session, object_ids, account))

    async def forget_file(self, account: str, file_id: str) -> None:
        self._homes.forget(file_id)
        await self.database.write(lambda session: files.forget_file(session, account, file_id))

    async def stats(self) -> dict[str, Any]:
        return await self.database.read(upkeep.stats)

    async def forgotten(self) -> list[Forgotten]:
        return await self.database.read(upkeep.forgotten)

    async def prune(self, *, settled_before: Millis) -> int:
        forgotten = 0
        while block := await self.database.write(lambda session: upkeep.prune_batches(session, settled_before)):
            forgotten += block
        await self.database.write(lambda session: upkeep.prune_answers(session, settled_before))
        after: tuple[str, str] | None = ("", "")
        while after is not None:
            after = await self.database.write(partial(upkeep.prune_files, before=settled_before, after=after))
        return forgotten
