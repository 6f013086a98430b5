"""A batch's story: looked at until it has ended, then its answers are read, and its settlement and event written down."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from batchmeter.errors import BatchmeterError, LedgerError, NotFoundError
from batchmeter.events import INVENTED, BatchFailed, BatchSucceeded, Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Attempts, Claim, Millis, Reschedule, TrackedBatch, is_another
from batchmeter.metering.result import Metering
from batchmeter.models import Batch
from batchmeter.plugins import Plugins
from batchmeter.providers import CallOptions, Provider

from .account_state import AccountState, answer_in_time
from .build_events import BATCH_UNAVAILABLE, ending_event, settlement_of, unreadable, with_notes
from .lease import LeaseLostError, Leases, Sleep, Watch, take, to_the_end
from .rows import with_id
from .schedule import (
    LATE_LOOKS,
    LOOK_SECONDS,
    Random,
    Timetable,
    TrackerOptions,
    after_error,
    after_trouble,
    exhausted,
    millis,
    one_more,
    pause_asked,
)
from .settle import Meter, NotReadableError, read_metering

log = logging.getLogger("batchmeter")

Cover = Callable[[AccountState, Provider, Sequence[Claim], Random], Awaitable[Mapping[str, Batch]]]
"""Tells newer snapshots of many due batches, by batch id; those it leaves out are asked for one by one."""
_NEWER = frozenset({"output_not_listed", "never_started", "nothing_done", "lines_missing"})
"""Troubles that only a newer snapshot can mend."""
_LISTED_LATE = frozenset({"output_not_listed", "nothing_done"})
"""Troubles after which the output may be listed all the same."""


@dataclass(slots=True)
class Summary:
    """Counts of a tracker's work."""

    claimed: int = 0
    looked: int = 0
    settled: int = 0
    put_off: int = 0
    """Ended, but not readable yet."""
    errors: int = 0


class PausedError(Exception):
    """The account is left alone for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass
class Poller:
    """Follows claimed batches. Each claim ends: settled, put off, given back, or lost to another worker."""

    ledger: Ledger
    plugins: Plugins
    meter: Meter
    timetable: Timetable
    options: TrackerOptions
    owner: str
    sleep: Sleep
    recorded: Callable[[], None]
    """Called after each recorded event."""
    cover: Cover | None = None
    leases: Leases = field(init=False)
    watch: Watch = field(default_factory=Watch)
    total: Summary = field(default_factory=Summary)
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    """Work under way."""
    unfinished: list[Claim] = field(default_factory=list[Claim])
    """Claims whose work was cancelled: to be given back."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when more may be claimed."""

    def __post_init__(self) -> None:
        self.leases = Leases(self.ledger, self.options.lease)

    async def follow(
        self,
        provider: Provider,
        claim: Claim,
        *,
        snapshot: Batch | None = None,
        account: AccountState | None = None,
    ) -> Settlement | float:
        """One batch, from a claim to its settlement; or the seconds until it is looked at again.

        `snapshot` is a newer one, if somebody has just shown one. `account` limits what is asked at a time; a caller
        who waits for this batch alone has none. LeaseLostError where another worker has it now.
        """
        tracked = claim.tracked
        if tracked.retired_id is not None:
            return await self._settle(claim, tracked.batch, unreadable(tracked.batch, BATCH_UNAVAILABLE))

        batch = snapshot or await self._look(provider, tracked, account)
        if not batch.ended:
            at = self.timetable.alone(tracked.account, batch, tracked.submission.model)
            await self.ledger.reschedule([Reschedule(claim, at, batch=batch)])
            return (at - self.ledger.now()) / 1000

        async with self.leases.held(claim), account.turn_to_settle() if account else nullcontext():
            try:
                metering = await read_metering(provider, tracked, batch, self.meter)
            except NotReadableError as error:
                attempts = one_more(tracked.attempts, error.trouble, self.ledger.now())
                if not exhausted(attempts[0], self.ledger.now()):
                    self.total.put_off += 1
                    pause = pause_asked(error.__cause__, self.options.longest_pause)
                    wait = after_trouble(attempts[0], self.timetable.random, retry_after=pause)
                    return await self._again(claim, wait, f"{attempts[0]}: {error}", attempts, batch)
                log.warning("batch %s: given up: %s: %s", tracked.batch_id, attempts[0], error)
                metering = await error.without()
                again = self.ledger.now() + millis(LATE_LOOKS[0]) if error.trouble in _LISTED_LATE else None
                return await self._settle(claim, batch, metering, look_again_at=again)
        return await self._settle(claim, batch, metering)

    async def _settle(
        self, claim: Claim, batch: Batch, metering: Metering, *, look_again_at: Millis | None = None
    ) -> Settlement:
        settlement, event = self.ending(claim.tracked, batch, metering)
        await self.ledger.subscribe(self.plugins.subscriptions)
        callbacks = self.plugins.callbacks
        if not await self.ledger.settle(
            claim, settlement, metering.groups, event, callbacks=callbacks, look_again_at=look_again_at
        ):
            raise LeaseLostError(batch.id)
        log.info("batch %s of %s settled: %s, %s", batch.id, settlement.account, settlement.status, metering.cost.total)
        self.total.settled += 1
        self.timetable.learn(settlement, claim.tracked.submission.model)
        self.recorded()
        return settlement

    def ending(
        self, tracked: TrackedBatch, batch: Batch, metering: Metering, *, revision: int = 1
    ) -> tuple[Settlement, BatchSucceeded | BatchFailed]:
        """The settlement and its event, with a note where a provider for tests made the answers up, readable or not."""
        factory = self.plugins.providers.get(tracked.submission.provider)
        if getattr(factory, "invented", False):
            metering = with_notes(metering, INVENTED)
        settlement = settlement_of(tracked, batch, metering, time=self.ledger.now(), revision=revision)
        return settlement, ending_event(tracked.submission, settlement)

    async def _again(
        self,
        claim: Claim,
        seconds: float,
        error: str | None,
        attempts: tuple[Attempts, ...],
        batch: Batch | None = None,
    ) -> float:
        at = self.ledger.now() + millis(seconds)
        await self.ledger.reschedule([Reschedule(claim, at, batch=batch, error=error, attempts=attempts)])
        return seconds

    # looks

    async def look(self, provider: Provider, batch_id: str) -> Batch:
        """The provider's newest word."""
        return await answer_in_time(provider, provider.retrieve_batch(batch_id, CallOptions(timeout=LOOK_SECONDS)))

    async def newest(self, provider: Provider, tracked: TrackedBatch) -> Batch:
        """As `look`; but an end that was seen stands, at last also where the provider has forgotten the batch."""
        known = tracked.batch
        if not _needs_look(tracked):
            return known
        try:
            return _newer(known, _still(known, await self.look(provider, known.id)))
        except NotFoundError:
            attempts = one_more(tracked.attempts, "batch_not_found", self.ledger.now())
            if known.ended and exhausted(attempts[0], self.ledger.now(), expires_at=known.expires_at):
                return known
            raise

    async def _look(self, provider: Provider, tracked: TrackedBatch, account: AccountState | None) -> Batch:
        """In the account's turn and budget. PausedError while it is left alone."""
        if account is None or not _needs_look(tracked):
            return await self.newest(provider, tracked)
        try:
            async with account.looking:
                pause = await account.pause_or_budget()
                if pause:
                    raise PausedError(pause)
                batch = await self.newest(provider, tracked)
        finally:
            self._release(account, [tracked.batch_id])
        account.worked(self.ledger.now() / 1000)
        self.total.looked += 1
        if batch.ended and not tracked.batch.ended:
            self.timetable.found(tracked.account, batch)
        return batch

    def _release(self, account: AccountState, batch_ids: Collection[str]) -> None:
        """Take these out of the batches that wait for a look; when none is left, more may be claimed."""
        account.unseen.difference_update(batch_ids)
        if not account.unseen:
            self.wake.set()

    # claims, and their work

    async def claim(self, account: str, batch_id: str, *, polled: int | None = None) -> Claim | None:
        """None where another worker has it, or it is settled, or was polled since."""
        work = self.ledger.claim(account, batch_id, owner=self.owner, lease_seconds=self.options.lease, polled=polled)
        return await take(work, lambda claim: self.give_back([] if claim is None else [claim]))

    async def claim_due(self, accounts: Collection[str]) -> list[Claim]:
        claiming = self.ledger.claim_due(
            owner=self.owner, limit=self.options.block, lease_seconds=self.options.lease, accounts=accounts
        )
        return await take(claiming, self.give_back)

    async def give_back(self, claims: Sequence[Claim]) -> None:
        """Give up claims in the middle of the work: their batches are due again at once, for any worker."""
        if not claims:
            return
        now = self.ledger.now()
        await self.ledger.reschedule(
            [
                Reschedule(claim, now, error=claim.tracked.last_error, attempts=claim.tracked.attempts)
                for claim in claims
            ]
        )

    def start_due(self, account: AccountState, provider: Provider, claims: Sequence[Claim]) -> None:
        """Follow an account's due batches."""
        self.total.claimed += len(claims)
        left = {claim.tracked.batch_id: claim for claim in claims}
        account.unseen.update(left)
        self.start(self._follow_due(account, provider, left), account, left)

    async def _follow_due(self, account: AccountState, provider: Provider, left: dict[str, Claim]) -> None:
        """Batches that lists show are told together, each other one by its own story; ends when all stories have begun."""
        for batch_id, claim in list(left.items()):
            if claim.tracked.retired_id is not None or not _needs_look(claim.tracked):
                self._release(account, [batch_id])
                self._start_step(account, provider, left.pop(batch_id))
        if self.cover is not None and left:
            await self._listed(self.cover, account, provider, left)
        if left and account.breaker.probing:  # the first alone while the account is in doubt
            first = next(iter(left))
            await self._step(account, provider, left[first])
            del left[first]
        while left:
            self._start_step(account, provider, left.popitem()[1])

    async def _listed(self, cover: Cover, account: AccountState, provider: Provider, left: dict[str, Claim]) -> None:
        """One list answers for many batches at once; all its open batches are put off in one statement."""
        drawn = self.timetable.random()  # one for all: batches of one list stay in step, to be listed together again
        shown = await cover(account, provider, list(left.values()), lambda: drawn)
        later: list[Reschedule] = []
        for batch_id, batch in shown.items():
            tracked = left[batch_id].tracked
            if is_another(tracked.batch, batch):
                continue
            claim, newest = left.pop(batch_id), _newer(tracked.batch, batch)
            self.total.looked += 1
            account.unseen.discard(batch_id)
            if newest.ended:
                if not tracked.batch.ended:
                    self.timetable.found(account.account, newest)
                self._start_step(account, provider, claim, newest)
            else:
                at = self.timetable.listed(account.account, newest, lambda: drawn, tracked.submission.model)
                later.append(Reschedule(claim, at, batch=newest))
        if later:
            await to_the_end(self.ledger.reschedule(later))  # these are left to nobody else
            for result in later:
                self.watch.changed(account.account, result.claim.tracked.batch_id)

    def _start_step(self, account: AccountState, provider: Provider, claim: Claim, shown: Batch | None = None) -> None:
        work = self._step(account, provider, claim, shown)
        self.start(work, account, {claim.tracked.batch_id: claim})

    async def _step(self, account: AccountState, provider: Provider, claim: Claim, shown: Batch | None = None) -> None:
        """A claim that is lost, or a ledger that is away, costs this claim only: its lease runs out, and it is due."""
        batch_id = claim.tracked.batch_id
        try:
            try:
                await self.follow(provider, claim, snapshot=shown, account=account)
            except PausedError as pause:
                await self._again(claim, pause.seconds, account.trouble, claim.tracked.attempts)
            except (LeaseLostError, LedgerError):
                raise
            except Exception as error:
                self.total.errors += 1
                now = self.ledger.now() / 1000
                account.failed(error, now)
                bug = None if isinstance(error, BatchmeterError) else error
                text = f"{type(error).__name__}: {error}"
                log.warning("batch %s of %s: %s", batch_id, account.account, text, exc_info=bug)
                await self.failed(claim, error, not_before=account.pause_left(now))
        except LeaseLostError:
            log.debug("batch %s: another worker has it", batch_id)
        except LedgerError as error:
            log.warning("batch %s: %s", batch_id, error)
        except Exception:
            log.exception("batch %s: its step failed", batch_id)
        finally:
            self.watch.changed(claim.tracked.account, batch_id)

    async def failed(self, claim: Claim, error: Exception, *, not_before: float = 0.0) -> Settlement | float:
        """Put off a batch that could not be looked at; give it up when its provider has long forgotten it."""
        tracked, now, random = claim.tracked, self.ledger.now(), self.timetable.random
        attempts, text = tracked.attempts, f"{type(error).__name__}: {error}"
        if isinstance(error, NotFoundError):
            attempts = one_more(attempts, "batch_not_found", now)
            text = f"{attempts[0]}: {text}"
            if exhausted(attempts[0], now, expires_at=tracked.batch.expires_at):
                log.warning("batch %s: given up: %s", tracked.batch_id, text)
                return await self._settle(claim, tracked.batch, unreadable(tracked.batch, BATCH_UNAVAILABLE))
            wait = after_trouble(attempts[0], random)
        else:
            pause = pause_asked(error, self.options.longest_pause)
            wait = after_error(tracked.error_count + 1, random, retry_after=pause)
        return await self._again(claim, max(wait, not_before), text, attempts)

    def start(
        self,
        work: Coroutine[Any, Any, None],
        account: AccountState | None = None,
        claims: Mapping[str, Claim] | None = None,
    ) -> None:
        """Start the work in a task of its own. When it is cancelled, however early, the claims left are given back."""

        def done(task: asyncio.Task[None]) -> None:
            self.tasks.discard(task)
            left = claims or {}
            if account is not None:
                self._release(account, left)
            if task.cancelled():
                self.unfinished.extend(left.values())
            elif (error := task.exception()) is not None:
                log.error("tracker: a task failed", exc_info=error)

        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(done)


def _needs_look(tracked: TrackedBatch) -> bool:
    """A final snapshot is enough to settle, unless it lacked what only a newer one has."""
    return not tracked.batch.ended or any(one.trouble in _NEWER for one in tracked.attempts)


def _newer(known: Batch, snapshot: Batch) -> Batch:
    """A batch that goes back from its end was seen by a lagging replica: the end stands."""
    return known if known.ended and not snapshot.ended else with_id(snapshot, known.id)


def _still(known: Batch, snapshot: Batch) -> Batch:
    """NotFoundError where the provider's server has given its id to another batch."""
    if is_another(known, snapshot):
        raise NotFoundError(f"the id {known.id} is another batch's by now", status_code=404)
    return snapshot
