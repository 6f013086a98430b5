"""The loop that follows open batches to their end; any number may run, on any number of machines."""

import asyncio
import logging
import os
import random as stdlib_random
import secrets
import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from batchmeter.errors import LedgerError, ProviderError, UsageError
from batchmeter.events import Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Claim, TrackedBatch
from batchmeter.models import Batch
from batchmeter.pricing.groups import PriceSource
from batchmeter.providers import Provider

from .adopt import Adopter, Adoption
from .bill import meter_with
from .budget import Budget
from .follow import Follower
from .intents import Reconciler
from .lane import Lane
from .lease import Leases
from .needs import Accounts, Plugins
from .options import DEFAULTS, TrackerOptions
from .resubmit import Resubmitter
from .schedule import Random
from .serve import Server, Summary
from .settle import Meter, Settler
from .sweep import Sweep
from .taking import take
from .waiting import OnUpdate, Waiter
from .watch import Newest, Sleep, Watch, nap
from .whose import Whose, with_id

log = logging.getLogger("batchmeter")


class Tracker:
    """Follows every unsettled batch in the ledger whose account this process has.

    `on_event` is told after each recorded event (the deliverer's `notify`).
    """

    def __init__(
        self,
        ledger: Ledger,
        accounts: Accounts,
        plugins: Plugins,
        prices: PriceSource,
        *,
        owner: str | None = None,
        options: TrackerOptions = DEFAULTS,
        meter: Meter | None = None,
        on_event: Callable[[], None] = lambda: None,
        random: Random = stdlib_random.random,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.owner = owner or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._ledger = ledger
        self._accounts = accounts
        self._options = options
        self._on_event = on_event
        self._random = random
        self._sleep = sleep
        self._also: set[str] = set()
        self._lanes: dict[str, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._watch = Watch()
        leases = Leases(ledger, options.lease)
        self._compared = Newest()
        settler = self._settler = Settler(
            ledger, plugins, meter or meter_with(prices, plugins), random, leases, options.longest_pause
        )
        self._follower = Follower(ledger, settler, random, options.look, options.longest_pause)
        self._sweep = Sweep(ledger, self._follower, enabled=options.list_many)
        self._server = Server(self._follower, self._sweep.cover, self._changed, self._spawn, leases)
        self.whose = Whose(ledger, accounts)
        self.adopter = Adopter(ledger, plugins, self._recorded, self.whose)
        self._adoption = Adoption(self.adopter, accounts, options.adopt_since)
        self._reconciler = Reconciler(ledger, accounts, self.adopter)
        self._resubmitter = Resubmitter(ledger, accounts, self.adopter)
        self._waiter = Waiter(ledger, self._follower, self._watch, sleep, self.owner, options.lease)

    # for the rest of the process

    def notify(self, account: str | None = None) -> None:
        """Something is new in the ledger; `account` is one that only this process knows."""
        if account is not None:
            self._also.add(account)
        self._wake.set()

    async def shown(self, provider: Provider, batch: Batch) -> None:
        """A provider's answer to anyone: where the batch is tracked, it advances."""
        known = await self.whose.shown(provider, batch)
        if known is not None:
            await self.observed(known.account, batch if batch.id == known.batch_id else with_id(batch, known.batch_id))

    async def observed(self, account: str, batch: Batch) -> None:
        """Anyone's answer about a batch advances it; its end is settled at once, whether or not `run` is running."""
        tracked = await self._ledger.observe(account, batch)
        if tracked is None or not batch.ended:
            return
        if tracked.settled_at is None:
            self._also.add(account)
            self._spawn(self._settle_observed(account, batch.id))
        elif (batch.output_file_id or batch.error_file_id) and self._compared.new(
            (account, batch.id, batch.output_file_id, batch.error_file_id)
        ):
            self._spawn(self._revise_observed(tracked, batch))

    async def told(self, account: str, batch_id: str) -> bool:
        """A webhook says that it has ended: look at once. False: it is settled, or nobody's."""
        tracked = await self._ledger.get_batch(batch_id, account)
        if not await self._ledger.wake(account, batch_id):
            return False
        if tracked is not None and not tracked.batch.ended:
            self._follower.hints.told(account, batch_id)
        self.notify(account)
        return True

    async def wait(
        self,
        account: str,
        batch_id: str,
        *,
        provider: Provider | None = None,
        timeout: float | None = None,
        on_update: OnUpdate | None = None,
    ) -> Settlement:
        """Look at this batch, as this provider or the account's, until it is settled here or by another worker.

        SettlementError when `timeout` (seconds) is over or nobody tracks it; a refused key is raised as it came.
        """
        provider = provider or self._accounts.get(account)
        self.notify(account)
        settlement = await self._waiter.wait(provider, account, batch_id, timeout=timeout, on_update=on_update)
        self._recorded()
        return settlement

    async def adopt(self, account: str, batch_id: str) -> bool:
        """Track a batch that was made elsewhere; False when it is tracked already."""
        provider = self._accounts.get(account)
        return await self.adopter.adopt(provider, await self._follower.look(provider, batch_id))

    async def adopt_all(self, account: str, *, since: datetime | None = None) -> int:
        """Track every batch that the account lists, back to `since`; returns how many were new."""
        return await self.adopter.adopt_all(self._accounts.get(account), since=since)

    async def reconcile(self) -> int:
        """Find the batches of creates whose answer was lost; returns how many intents came to an end."""
        return await self._reconciler.reconcile()

    async def resubmit(self) -> int:
        """Submit again what a full queue has failed, where it is due; returns how many batches were made."""
        return await self._resubmitter.resubmit()

    async def next_try(self, account: str, batch_id: str) -> str | None:
        """The batch that follows one that a full queue has failed, once there is room for it; None where none will."""
        return await self._resubmitter.next_try(account, batch_id, self._sleep)

    async def idle(self) -> None:
        """Returns when no settlement is under way here."""
        while settling := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(settling)

    # the loop

    async def run(self) -> None:
        """Until cancelled; no error ends it. What is under way when it is cancelled is given back."""
        reconciling = asyncio.create_task(self._reconcile_now_and_then(), name="batchmeter reconcile")
        try:
            while True:
                self._wake.clear()
                if not await self._tolerant(self._round(), 0):
                    await nap(self._sleep, self._wake, await self._tolerant(self._rest(), self._options.idle))
        finally:
            tasks = [reconciling, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def once(self) -> Summary:
        """Reconcile and submit again, then serve everything that is due now, to the end."""
        await self._tolerant(self.reconcile(), 0)
        await self._tolerant(self.resubmit(), 0)
        before, seen = replace(self._server.total), set[str]()
        while claims := await self._claim():
            again = [claim for claim in claims if claim.tracked.batch_id in seen]
            seen.update(claim.tracked.batch_id for claim in claims)
            self._serve([claim for claim in claims if claim not in again])
            await self.idle()
            if again:
                await self._follower.release(again)
                break
        return self._server.total.since(before)

    async def _round(self) -> int:
        claims = await self._claim()
        self._serve(claims)
        return len(claims)

    async def _claim(self) -> list[Claim]:
        now = self._ledger.now() / 1000
        ready = [lane.account for lane in self._known() if lane.ready(now)]
        if not ready:
            return []
        options = self._options
        claiming = self._ledger.claim_due(
            owner=self.owner, limit=options.block, lease_seconds=options.lease, accounts=ready
        )
        return await take(claiming, self._follower.release)

    def _serve(self, claims: Sequence[Claim]) -> None:
        by_account: dict[str, list[Claim]] = {}
        for claim in claims:
            by_account.setdefault(claim.tracked.account, []).append(claim)
        for account, mine in by_account.items():
            lane = self._lane(account)
            lane.serving += 1
            self._spawn(self._serve_account(lane, mine))

    async def _serve_account(self, lane: Lane, claims: Sequence[Claim]) -> None:
        try:
            provider = self._provider(lane)
            if provider is None:
                await self._follower.release(list(claims))
            else:
                await self._server.serve(lane, provider, claims)
        finally:
            lane.serving -= 1
            self._wake.set()

    async def _revise_observed(self, tracked: TrackedBatch, batch: Batch) -> None:
        """Files that were listed only after it was settled: a revision tells what they hold."""
        try:
            if await self._settler.revise(self._accounts.get(tracked.account), tracked, batch):
                self._recorded()
        except (ProviderError, UsageError) as error:
            self._compared.forget()  # the next who looks tries again
            log.warning("batch %s: its late files cannot be read: %s", tracked.batch_id, error)

    async def _settle_observed(self, account: str, batch_id: str) -> None:
        """Nothing to do where somebody holds or has settled it."""
        claiming = self._ledger.claim(account, batch_id, owner=self.owner, lease_seconds=self._options.lease)
        claim = await take(claiming, self._follower.release_one)
        if claim is not None:
            lane = self._lane(account)
            lane.serving += 1
            await self._serve_account(lane, [claim])

    def _provider(self, lane: Lane) -> Provider | None:
        """None leaves the account's batches to a process that is configured for it."""
        if lane.refused:
            self.whose.refused(lane.account)
        try:
            return self._accounts.get(lane.account)
        except UsageError as error:
            log.warning("account %s has open batches but cannot be used here: %s", lane.account, error)
            lane.unusable_until = self._ledger.now() / 1000 + self._options.unusable
            return None

    async def _rest(self) -> float:
        """Seconds until something is due, or an account is tried again."""
        now = self._ledger.now() / 1000
        lanes = self._known()
        due = await self._ledger.next_due_at([lane.account for lane in lanes if lane.ready(now)])
        moments = [lane.resumes_at for lane in lanes if lane.resumes_at > now]
        if due is not None:
            moments.append(due / 1000)
        return min([self._options.idle, *(max(moment - now, 0.05) for moment in moments)])

    async def _reconcile_now_and_then(self) -> None:
        """Lost creates, batches to submit again, and what others made."""
        while True:
            await self._tolerant(self._ledger.correct_times(), 0)
            await asyncio.gather(
                self._tolerant(self.reconcile(), 0),
                self._tolerant(self.resubmit(), 0),
                self._tolerant(self._follower.histories.refresh(self._ledger), None),
                self._tolerant(self._adoption.sweep_all(self._options.adopt), None),
            )
            await self._sleep(self._options.reconcile)

    async def _tolerant(self, work: Coroutine[Any, Any, Any], fallback: Any) -> Any:
        """A ledger that is away, or a bug: said in the log, and tried again later."""
        try:
            return await work
        except LedgerError as error:
            log.warning("tracker: %s", error)
        except Exception:
            log.exception("tracker: a step failed")
        return fallback

    def _known(self) -> list[Lane]:
        return [self._lane(account) for account in sorted({*self._accounts.names(), *self._also})]

    def _lane(self, account: str) -> Lane:
        if account not in self._lanes:
            budget = Budget(lambda: self._ledger.now() / 1000, self._sleep, most=self._options.requests_per_second)
            options = self._options
            self._lanes[account] = Lane(
                account, self._random, budget, options.looks, options.downloads, options.longest_pause
            )
        return self._lanes[account]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("tracker: a task failed", exc_info=error)

    def _changed(self, claim: Claim) -> None:
        self._watch.changed(claim.tracked.account, claim.tracked.batch_id)
        self._recorded()

    def _recorded(self) -> None:
        self._on_event()
        self._wake.set()
