"""The durable store, over SQLite or PostgreSQL: every operation is one transaction, and a line here.

Times are epoch milliseconds UTC by the ledger's own clock (`now`), so that workers' clocks do not matter; nothing
half-done is ever visible. What is submitted or settled commits durably; a lost poll or acknowledgement repairs itself.
Operations raise LedgerError with how to mend it.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import TypeVar
from uuid import uuid4

from batchmeter.errors import LedgerError
from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, Settlement, Subscription
from batchmeter.models import Attribution, Batch, FileObject
from batchmeter.pricing.groups import Groups

from . import batches, claims, files, outbox
from . import settlements as endings
from .files import AccountCache
from .records import Claim, Intent, Millis, Submission, TrackedBatch
from .session import Database, Session, Topic
from .transactions import GroupCommit, read, write

Item = TypeVar("Item")
Result = TypeVar("Result")


class Ledger:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.url = database.url
        """For messages; without a password."""
        self.now = database.now
        """The ledger's clock, whoever's machine asks: epoch milliseconds UTC."""
        self._accounts = AccountCache()
        self._subscribed: Sequence[Subscription] = ()
        self._opening = GroupCommit(partial(self._durably, batches.store_intents), database.of_one)
        self._settling = GroupCommit(partial(self._durably, endings.settle_all), database.of_one)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    async def open(self, *, create: bool = True, wait: bool = False) -> None:
        """Connect and upgrade an older schema, under a lock; where there is none, make one unless told not to.

        `wait`: also for a server that cannot be reached at the moment. LedgerTooNewError on a newer schema.
        """
        await self.database.open(create=create, wait=wait)

    async def aclose(self) -> None:
        await self._opening.aclose()
        await self._settling.aclose()
        await self.database.aclose()

    async def listen(self, heard: Callable[[Topic], None]) -> None:
        """Calls `heard`, a hint, when any process may have made work, until cancelled. SQLite cannot tell: it returns at once."""
        await self.database.listen(heard)

    # submit
    async def open_intent(self, intent: Intent, *, until: Millis | None = None) -> Intent:
        """Store the intent, durably; or return the one with the same account and idempotency key, unless closed.

        LedgerError after `until`, when what was reserved for the create may be given back already.
        """
        stored = await self._opening.add((intent, until))
        if stored is None:
            raise LedgerError("the submission took too long to be sent, and was not: submit again")
        return stored

    close_intent = write(batches.close_intent)
    open_intents = read(batches.open_intents)
    intent = read(batches.get_intent)
    intent_of = read(batches.intent_of)
    intent_states = read(batches.intent_states)
    intent_of_batch = read(batches.intent_of_batch)

    async def record_created(
        self,
        submission: Submission,
        batch: Batch,
        event: BatchCreated,
        *,
        callbacks: Collection[str] = (),
        next_poll_at: Millis,
        intent_id: str | None = None,
        durable: bool = True,
    ) -> TrackedBatch:
        """Batch row + event + one delivery a subscription, and the intent becomes `created`. Known already: only returned.

        Not `durable`: does not wait for the disk. What a power cut takes back then is found again by its intent.
        """
        made = (submission, batch, event, callbacks, next_poll_at, intent_id)
        tracked = await self.database.write(lambda session: batches.record_created(session, *made), durable=durable)
        self._accounts.put(batch.id, submission.account)
        return tracked

    # follow
    observe = write(batches.observe)
    observe_endings = write(batches.observe_endings)
    wake = write(batches.wake)
    get_batch = read(batches.get_batch)
    batches_of_id = read(batches.batches_of_id)
    ids_from = read(batches.ids_from)
    list_batches = read(batches.list_batches)
    claim_due = write(claims.claim_due)
    claim = write(claims.claim)
    renew = write(claims.renew)
    reschedule = write(claims.reschedule)
    put_off = write(claims.put_off)
    next_due_at = read(claims.next_due_at)
    correct_times = write(claims.correct_times)

    # settle
    async def settle(
        self,
        claim: Claim,
        settlement: Settlement,
        groups: Groups,
        event: BatchSucceeded | BatchFailed,
        *,
        callbacks: Collection[str] = (),
        look_again_at: Millis | None = None,
    ) -> bool:
        """Settlement + event + deliveries, once: False when the lease was lost or it is settled already.

        Deliveries go to every subscription that handles the event, of callbacks to those of the program that submitted
        the batch and to `callbacks`, those of the one that settles it. `look_again_at`: its output may be listed late.
        """
        return await self._settling.add(endings.Ending(claim, settlement, groups, event, callbacks, look_again_at))

    async def _durably(
        self, work: Callable[[Session, Sequence[Item]], Awaitable[list[Result]]], group: Sequence[Item]
    ) -> list[Result]:
        return await self.database.write(lambda session: work(session, group), durable=True)

    revise = write(endings.revise, durable=True)
    settlement = read(endings.settlement)
    settlements = read(endings.settlements)

    # events and their deliveries
    events = read(outbox.events)
    last_event = read(outbox.last_event)
    claim_deliveries = write(outbox.claim_deliveries)
    finish_deliveries = write(outbox.finish_deliveries)
    deliveries = read(outbox.deliveries)
    replay = write(outbox.replay, durable=True)
    next_delivery_at = read(outbox.next_delivery_at)
    gauges = read(outbox.gauges)

    record_event = write(outbox.record_event, durable=True)

    async def once(self, scope: str, name: str) -> bool:
        """True for the first of all processes that asks."""
        asker = f"once {uuid4()}"
        return await self.database.write(lambda session: claims.once(session, scope, name, asker), durable=True)

    not_once = write(claims.not_once, durable=True)

    # subscriptions
    async def subscribe(self, wanted: Sequence[Subscription]) -> None:
        """Before this process records an event: what it has is owed it. Nothing to do for what was subscribed here."""
        if wanted is self._subscribed:
            return
        known = set(self._subscribed)
        new = [one for one in wanted if one not in known]
        news = await self.database.read(lambda session: outbox.news(session, new)) if new else []
        if news:
            await self.database.write(lambda session: outbox.subscribe(session, news), durable=True)
        self._subscribed = wanted

    subscriptions = read(outbox.subscriptions)
    touch_subscriptions = write(outbox.touch)
    unattended = read(outbox.unattended)
    missing_redactors = read(outbox.missing_redactors)
    abandon = write(outbox.end, durable=True)

    # files, and what else belongs to accounts
    owner_of = read(files.owner_of)
    owners_of = read(files.owners_of)
    file_sha256 = read(files.file_sha256)
    file_estimate = read(files.file_estimate)

    async def record_file(
        self,
        account: str,
        file: FileObject,
        *,
        attribution: Attribution | None = None,
        lines: int | None = None,
        sha256: str | None = None,
        estimate: str | None = None,
    ) -> None:
        """Known already: what is None now stays as it was."""
        await self.database.write(
            lambda session: files.record_file(session, account, file, attribution, lines, sha256, estimate)
        )
        self._accounts.put(file.id, account)

    async def account_of(self, object_id: str) -> str | None:
        """The account that a file or batch id belongs to, where the ledger knows it."""
        account = self._accounts.get(object_id)
        if account is None:
            account = await self.database.read(lambda session: files.account_of(session, object_id))
            if account is not None:
                self._accounts.put(object_id, account)
        return account

    async def forget_file(self, account: str, file_id: str) -> None:
        self._accounts.forget(file_id)
        await self.database.write(lambda session: files.forget_file(session, account, file_id))

    # answers to give again
    reserve_answer = write(claims.reserve_answer)
    renew_answer = write(claims.renew_answer)
    keep_answer = write(claims.keep_answer, durable=True)
    drop_answer = write(claims.drop_answer)
