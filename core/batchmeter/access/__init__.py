"""Access: the part of the ledger that a server may use: owners of objects, answers to give again, costs, events.

A plugin that serves others asks `await access_of(client)` for it and reaches no ledger, tracker or deliverer besides.
Times are epoch milliseconds UTC by the ledger's clock. All methods raise LedgerError while the ledger is away.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Protocol

from batchmeter.calls.uploads import Readers
from batchmeter.events import Settlement
from batchmeter.ledger.records import (
    Answer,
    Delivery,
    DeliveryState,
    LoggerGauge,
    Millis,
    Owner,
    StoredEvent,
    Subscribed,
    TrackedBatch,
)
from batchmeter.ledger.session import Database
from batchmeter.ledger.transactions import read
from batchmeter.models import Attribution, Batch, FileObject
from batchmeter.pricebook.book import PriceBook
from batchmeter.pricing.groups import PriceSource
from batchmeter.reports.price_list import Listed, search
from batchmeter.reports.timings import seconds_left
from batchmeter.rounds.durations import durations_of
from batchmeter.runtime.plugin_store import Store, open_store
from batchmeter.spend.report import GROUPINGS, CostReport, as_csv, moment
from batchmeter.spend.spend import Spend, spend_of
from batchmeter.tracker.metadata_tag import untagged, without_tag
from batchmeter.tracker.schedule import Timetable

from . import browse, gauges
from .browse import BatchDelivery, BatchFilter, BatchHistory, BatchPage, SeenBatch, UnknownCost
from .gauges import MOST_COUNTED, MOST_NEWEST, Condition, CostGauge, Following, LoggerActivity
from .settled import SettledBatch, settled_batches

if TYPE_CHECKING:
    from batchmeter.config import Settings
    from batchmeter.ledger.ledger import Ledger
    from batchmeter.parts import Parts
    from batchmeter.plugins import Plugins

__all__ = [
    "GROUPINGS",
    "MOST_COUNTED",
    "MOST_NEWEST",
    "Access",
    "Answer",
    "BatchDelivery",
    "BatchFilter",
    "BatchHistory",
    "BatchPage",
    "Condition",
    "CostGauge",
    "CostReport",
    "Delivery",
    "Following",
    "KnownBatch",
    "Listed",
    "LoggerActivity",
    "LoggerGauge",
    "Millis",
    "Owner",
    "Readers",
    "SeenBatch",
    "SettledBatch",
    "StoredEvent",
    "Subscribed",
    "TrackedBatch",
    "UnknownCost",
    "access_of",
    "as_csv",
    "find_prices",
    "moment",
    "open_access",
    "untagged",
]


class Wakes(Protocol):
    """A tracker, as far as it is told of batches, and tells how long they take."""

    @property
    def timetable(self) -> Timetable: ...

    @property
    def upkeep(self) -> Mapping[str, Callable[[], Awaitable[int]]]: ...

    @property
    def heartbeat(self) -> float | None: ...

    async def tell(self, account: str, batch_id: str) -> bool: ...


class Configured(Protocol):
    """A client that need not be open."""

    settings: "Settings"
    plugins: "Plugins"


class Shows(Protocol):
    """Redaction, as far as events are shown."""

    async def shown(self, found: Sequence[StoredEvent]) -> list[StoredEvent]: ...


@dataclass(frozen=True, slots=True)
class KnownBatch:
    """A batch in the ledger, as its owner made it."""

    account: str
    batch: Batch
    """As a look last showed it."""
    attribution: Attribution

    @property
    def batch_id(self) -> str:
        return self.batch.id

    @classmethod
    def of(cls, tracked: TrackedBatch) -> "KnownBatch":
        submission = tracked.submission
        return cls(submission.account, without_tag(tracked.batch), submission.attribution)


@dataclass(frozen=True)
class Access:
    """See the module. Who may ask for what is the caller's business."""

    _ledger: "Ledger"
    _tracker: Wakes | None = None
    _redaction: Shows | None = None
    _sums: Spend | None = None

    @property
    def _spend(self) -> Spend:
        return self._sums or Spend(self._ledger)

    @property
    def database(self) -> Database:
        return self._ledger.database

    def now(self) -> Millis:
        return self._ledger.now()

    async def ping(self) -> None:
        """Returns when the ledger answers."""
        await self._ledger.account_of("")

    # of a server's own
    async def store(self, name: str, migrations: Sequence[str], statements: str) -> Store:
        """Tables of a plugin's own, as `PluginHost.store`."""
        return await open_store(self._ledger.database, name, migrations, statements)

    open_batches = read(browse.open_batches)

    async def was_created(self, account: str, idempotency_key: str) -> bool:
        """Whether a create with this key has made a batch, or may have."""
        return await self._ledger.intent_of(account, idempotency_key) is not None

    # answers to give again
    async def reserve_answer(
        self, scope: str, name: str, *, lease_seconds: float, request_sha256: str | None = None
    ) -> Answer:
        """The first one's answer; or, for nobody else in this time, the right to give it."""
        return await self._ledger.reserve_answer(
            scope, name, lease_seconds=lease_seconds, request_sha256=request_sha256
        )

    async def renew_answer(self, scope: str, name: str, *, lease_seconds: float) -> None:
        await self._ledger.renew_answer(scope, name, lease_seconds=lease_seconds)

    async def keep_answer(self, scope: str, name: str, document: str, request_sha256: str | None = None) -> None:
        await self._ledger.keep_answer(scope, name, document, request_sha256)

    async def drop_answer(self, scope: str, name: str) -> None:
        """Nothing came of it: the next one may try."""
        await self._ledger.drop_answer(scope, name)

    # objects' owners
    async def account_of(self, object_id: str) -> str | None:
        return await self._ledger.account_of(object_id)

    async def owner_of(self, object_id: str, account: str | None = None) -> Owner | None:
        """Of a file or batch; a batch's output files belong to whoever submitted it."""
        return await self._ledger.owner_of(object_id, account)

    async def record_file(
        self,
        account: str,
        file: FileObject,
        *,
        attribution: Attribution,
        lines: int | None,
        sha256: str,
        estimate: str | None = None,
    ) -> None:
        """`estimate`: a text that `read_upload`'s readers left."""
        await self._ledger.record_file(
            account, file, attribution=attribution, lines=lines, sha256=sha256, estimate=estimate
        )

    async def file_sha256(self, account: str, file_id: str) -> str | None:
        """Of the bytes of a file that was uploaded through us."""
        return await self._ledger.file_sha256(account, file_id)

    files_of_key = read(browse.files_of_key)

    # batches, costs, events
    async def batch(self, batch_id: str, account: str | None = None) -> KnownBatch | None:
        tracked = await self._ledger.get_batch(batch_id, account)
        return None if tracked is None else KnownBatch.of(tracked)

    async def batches_of_key(
        self, key_id: str, account: str, *, after: str | None = None, limit: int
    ) -> list[KnownBatch] | None:
        """Batches that it submitted, newest first; None: it has no batch `after`."""
        found = await self.database.read(
            lambda session: browse.batches_of_key(session, key_id, account, after=after, limit=limit)
        )
        return None if found is None else [KnownBatch.of(tracked) for tracked in found]

    async def browse(self, chosen: BatchFilter, *, after: str | None = None, limit: int = 50) -> BatchPage:
        """Batches newest first, each with its newest settlement; `after` is the `next` of an earlier page."""
        page = await self.database.read(lambda session: browse.browse(session, chosen, after=after, limit=limit))
        return replace(page, data=tuple(replace(one, tracked=_plain(one.tracked)) for one in page.data))

    async def history(self, batch_id: str, account: str) -> BatchHistory | None:
        """One batch with all its settlements and deliveries."""
        found = await self.database.read(lambda session: browse.history(session, batch_id, account))
        return None if found is None else replace(found, tracked=_plain(found.tracked))

    async def unknown_costs(
        self, chosen: BatchFilter, *, since: Millis, until: Millis, limit: int = 500, invented: bool = False
    ) -> list[UnknownCost]:
        """Why lines have no known cost, most lines first; whole UTC days, and of the filter accounts and key.

        `invented`: of a sandbox's batches, else of all others.
        """
        await self._spend.roll()
        work = partial(browse.unknown_costs, chosen=chosen, since=since, until=until, limit=limit, invented=invented)
        return await self.database.read(work)

    async def wake(self, account: str, batch_id: str) -> bool:
        """Look at a batch now, since somebody says it has ended; False when there is none, or it is settled."""
        return self._tracker is not None and await self._tracker.tell(account, batch_id)

    async def seconds_left(self, tracked: TrackedBatch) -> tuple[float, float] | None:
        """Likely seconds until an open batch ends, from and to; None where nothing tells.

        Of its counts, and no more than is usual; without them, what batches of its account and model that got this old took.
        """
        batch, now = tracked.batch, self.now() / 1000
        if batch.ended or batch.created_at is None or self._tracker is None:
            return None
        durations, model = durations_of(self._tracker.timetable), batch.model or tracked.submission.model
        await self._tracker.upkeep["histories"]()
        age = now - batch.created_at
        usual, counted = seconds_left(durations, tracked.account, model, age), batch.seconds_left(now)
        if counted is None:
            return usual
        likely = counted if usual is None else min(counted, usual[1])
        return likely, likely

    async def settlement(self, batch_id: str, account: str | None) -> Settlement | None:
        found = await self._ledger.settlement(batch_id, account)
        return None if found is None else found[0]

    def settled_batches(self, since: Millis | None, until: Millis | None) -> AsyncGenerator[SettledBatch]:
        """Whole batches first settled from `since` to before `until`, all as of one moment; close it when done."""
        return settled_batches(self.database, since=since, until=until)

    async def costs(
        self,
        *,
        group_by: str,
        since: Millis | None,
        until: Millis | None,
        key: str | None,
        limit: int,
        where: Mapping[str, str | None] | None = None,
    ) -> CostReport:
        """Of batches settled from `since` to before `until`; of one key's, if given; at most `limit` rows.

        UsageError for groups that there are no sums by.
        """
        return await self._spend.report(group_by=group_by, since=since, until=until, key=key, where=where, limit=limit)

    async def events(
        self,
        *,
        types: Sequence[str] | None,
        after: int,
        since: Millis | None,
        batch_id: str | None,
        key: str | None,
        limit: int,
        most_bytes: int | None = None,
    ) -> list[StoredEvent]:
        """As they were recorded, in order; `shown` makes of them what may be seen.

        Fewer than `limit`, but two at least, where they have more than `most_bytes` together.
        """
        return await self._ledger.events(
            types=types, after=after, since=since, batch_id=batch_id, key=key, limit=limit, most_bytes=most_bytes
        )

    async def shown(self, stored: Sequence[StoredEvent]) -> list[StoredEvent]:
        """As loggers may see them; RedactorMissingError while nobody can say."""
        return list(stored) if self._redaction is None else await self._redaction.shown(list(stored))

    async def last_event(self) -> int:
        """The highest number of an event: it grows when one is recorded."""
        return await self._ledger.last_event()

    # gauges
    following = read(gauges.following)
    stats = read(gauges.stats)
    condition = read(gauges.condition)
    activity = read(gauges.activity)
    cost_gauges = read(gauges.cost_gauges)

    def heartbeat(self) -> float | None:
        """When this process's tracker last ended a round (epoch seconds); None where none runs."""
        return None if self._tracker is None else self._tracker.heartbeat

    async def gauges(self) -> Sequence[LoggerGauge]:
        """Each logger's backlog."""
        return await self._ledger.gauges()

    async def subscriptions(self) -> list[Subscribed]:
        """Everyone who is owed events, with what is owed and dead."""
        return await self._ledger.subscriptions()

    async def deliveries(self, logger: str, state: DeliveryState, *, limit: int) -> list[Delivery]:
        """The oldest of a logger's deliveries in this state."""
        return await self._ledger.deliveries(logger=logger, state=state, limit=limit)

    async def replay_dead(self, logger: str) -> int:
        """Make a logger's dead deliveries due again; returns how many."""
        return await self._ledger.replay(logger, dead_only=True)


def _plain(tracked: TrackedBatch) -> TrackedBatch:
    return replace(tracked, batch=without_tag(tracked.batch))


async def find_prices(source: PriceSource, words: str, day: date, *, limit: int) -> list[Listed]:
    """Rates of every model whose `provider/id` has all of these words, in a batch and outside, at most so many models.

    Empty for a price source that is no price book.
    """
    if not isinstance(source, PriceBook):
        return []
    return await asyncio.to_thread(search, source, words, day, limit)


class Opening(Protocol):
    """A client that opens on first use."""

    async def ready(self) -> "Parts": ...


async def access_of(client: Opening) -> Access:
    """The access of a client; opens it on first use."""
    parts = await client.ready()
    return Access(parts.ledger, parts.tracker, parts.deliverer.redaction, spend_of(parts))


@asynccontextmanager
async def open_access(client: Configured) -> AsyncGenerator[Access]:
    """The ledger of a client that is not open: no plugin starts, nothing is delivered or tracked."""
    from batchmeter.ledger import open_ledger  # noqa: PLC0415 - only where a client does not open it

    ledger = open_ledger(client.settings.ledger, engines=client.plugins.ledgers)
    await ledger.open()
    try:
        yield Access(ledger)
    finally:
        await ledger.aclose()
