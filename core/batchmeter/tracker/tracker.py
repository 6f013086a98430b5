"""The loop that follows open batches to their end; any number may run, on any number of machines."""

import asyncio
import logging
import os
import random as stdlib_random
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from batchmeter.accounts import Accounts
from batchmeter.errors import LedgerError, ProviderError, UsageError
from batchmeter.events import Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Claim, TrackedBatch
from batchmeter.models import Batch
from batchmeter.plugins import Plugins
from batchmeter.pricing.groups import PriceSource
from batchmeter.providers import Provider

from .account_state import AccountState, Budget
from .adopt import Adopter, Adoption, BatchAccounts, with_id
from .lease import Leases, Newest, Sleep, Watch, nap, take
from .list_polling import ListPolling
from .lost_creates import LateFiles, Reconciler
from .poller import Poller, Summary
from .schedule import LONGEST_PAUSE, Random, Timetable
from .settle import Meter, meter_with
from .wait import OnUpdate, Waiter

log = logging.getLogger("batchmeter")


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """Seconds, and numbers of things at a time."""

    lease: float = 120.0
    """A killed worker's batches are taken over after this."""
    block: int = 500
    """Batches claimed at once: enough of one account for its lists to be worth their while."""
    look: float = 60.0
    """One request to a provider, with its retries."""
    idle: float = 10.0
    """Longest sleep: other processes submit too."""
    reconcile: float = 60.0
    """Between two looks for lost creates."""
    unusable: float = 60.0
    """Before an account that is not configured here is tried again."""
    looks: int = 8
    """Requests of one account under way."""
    downloads: int = 8
    """Settlements of one account under way."""
    requests_per_second: float = 20.0
    """For one account, on average, looks only; halved whenever it answers 429."""
    longest_pause: float = LONGEST_PAUSE
    """A Retry-After counts for at most this long."""
    adopt: tuple[str, ...] = ()
    """Accounts whose every batch is tracked, whoever made it."""
    adopt_since: float = 48 * 3600.0
    """How far back a starting tracker looks for them, until it has read the account's list once."""
    list_many: bool = True
    """Ask one list for many due batches, where the provider can."""


DEFAULTS = TrackerOptions()


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
        self.heartbeat: float | None = None
        """When a round last ended (epoch seconds)."""
        self._ledger = ledger
        self._accounts = accounts
        self._options = options
        self._on_event = on_event
        self._random = random
        self._sleep = sleep
        self._also: set[str] = set()
        self._states: dict[str, AccountState] = {}
        self._compared = Newest()
        self._timetable = Timetable(ledger.now, random)
        self.durations = self._timetable.durations
        watch = Watch()
        self._poller = Poller(
            ledger,
            plugins,
            meter or meter_with(prices, plugins),
            self._timetable,
            Leases(ledger, options.lease),
            ListPolling(ledger, self._timetable, options.look, options.list_many),
            watch,
            self._recorded,
            options.look,
            options.longest_pause,
        )
        self._late = LateFiles(ledger, accounts, self._poller.revise)
        self._wake = self._poller.wake
        self.batch_accounts = BatchAccounts(ledger, accounts)
        self.adopter = Adopter(ledger, plugins, self._recorded, self.batch_accounts)
        self._adoption = Adoption(self.adopter, accounts, options.adopt_since)
        self._reconciler = Reconciler(ledger, accounts, self.adopter)
        self._waiter = Waiter(ledger, self._poller, watch, sleep, self.owner, options.lease)

    # for the rest of the process

    def notify(self, account: str | None = None) -> None:
        """Something is new in the ledger; `account` is one that only this process knows."""
        if account is not None:
            self._also.add(account)
        self._wake.set()

    async def shown(self, provider: Provider, batch: Batch) -> None:
        """A provider's answer to anyone: where the batch is tracked, it advances."""
        known = await self.batch_accounts.shown(provider, batch)
        if known is not None:
            await self.observed(known.account, batch if batch.id == known.batch_id else with_id(batch, known.batch_id))

    async def observed(self, account: str, batch: Batch) -> None:
        """Anyone's answer about a batch advances it; its end is settled at once, whether or not `run` is running."""
        tracked = await self._ledger.observe(account, batch)
        if tracked is None or not batch.ended:
            return
        if tracked.settled_at is None:
            self._also.add(account)
            self._poller.start(self._settle_observed(account, batch.id))
        elif (batch.output_file_id or batch.error_file_id) and self._compared.new(
            (account, batch.id, batch.output_file_id, batch.error_file_id)
        ):
            self._poller.start(self._revise_observed(tracked, batch))

    async def tell(self, account: str, batch_id: str) -> bool:
        """A webhook says that it has ended: look at once. False: it is settled, or nobody's."""
        tracked = await self._ledger.get_batch(batch_id, account)
        if not await self._ledger.wake(account, batch_id):
            return False
        if tracked is not None and not tracked.batch.ended:
            self._timetable.hints.note(account, batch_id)
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
        return await self._waiter.wait(provider, account, batch_id, timeout=timeout, on_update=on_update)

    async def adopt(self, account: str, batch_id: str) -> bool:
        """Track a batch that was made elsewhere; False when it is tracked already."""
        provider = self._accounts.get(account)
        return await self.adopter.adopt(provider, await self._poller.look(provider, batch_id))

    async def adopt_all(self, account: str, *, since: datetime | None = None) -> int:
        """Track every batch that the account lists, back to `since`; returns how many were new."""
        return await self.adopter.adopt_all(self._accounts.get(account), since=since)

    async def reconcile(self) -> int:
        """Find the batches of creates whose answer was lost; returns how many intents came to an end."""
        return await self._reconciler.reconcile()

    async def idle(self) -> None:
        """Returns when no settlement is under way here."""
        while settling := [task for task in self._poller.tasks if not task.done()]:
            await asyncio.wait(settling)

    # the loop

    async def run(self) -> None:
        """Until cancelled; no error ends it. What is under way when it is cancelled is given back."""
        reconciling = asyncio.create_task(self._reconcile_now_and_then(), name="batchmeter reconcile")
        try:
            while True:
                self._wake.clear()
                found = await self._tolerant(self._round, 0)
                self.heartbeat = time.time()
                if not found:
                    await self._tolerant(lambda: self._ledger.roll_spend(blocks=1), 0)
                    await nap(self._sleep, self._wake, await self._tolerant(self._rest, self._options.idle))
        finally:
            tasks = [reconciling, *self._poller.tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._tolerant(lambda: self._poller.give_back(self._poller.unfinished), None)
            self._poller.unfinished.clear()

    async def once(self) -> Summary:
        """Reconcile, look for late files, then serve everything that is due now, to the end."""
        await self._tolerant(self.reconcile, 0)
        await self._tolerant(self._look_for_late_files, 0)
        before, served = replace(self._poller.total), set[str]()
        while claims := await self._claim():
            again = [claim for claim in claims if claim.tracked.batch_id in served]
            served.update(claim.tracked.batch_id for claim in claims)
            self._serve([claim for claim in claims if claim not in again])
            await self.idle()
            if again:
                await self._poller.give_back(again)
                break
        await self._tolerant(self._ledger.roll_spend, 0)
        return self._poller.total.since(before)

    async def _round(self) -> int:
        claims = await self._claim()
        self._serve(claims)
        return len(claims)

    async def _claim(self) -> list[Claim]:
        now = self._ledger.now() / 1000
        ready = [state.account for state in self._known() if state.ready(now)]
        if not ready:
            return []
        options = self._options
        claiming = self._ledger.claim_due(
            owner=self.owner, limit=options.block, lease_seconds=options.lease, accounts=ready
        )
        return await take(claiming, self._poller.give_back)

    def _serve(self, claims: Sequence[Claim]) -> None:
        by_account: dict[str, list[Claim]] = {}
        for claim in claims:
            by_account.setdefault(claim.tracked.account, []).append(claim)
        for account, mine in by_account.items():
            state = self._state(account)
            provider = self._provider(state)
            if provider is None:
                self._poller.start(self._poller.give_back(mine))
            else:
                state.unseen += 1
                self._poller.start(self._poller.follow_due(state, provider, mine))

    async def _look_for_late_files(self) -> int:
        return await self._late.look(
            [state.account for state in self._known() if state.ready(self._ledger.now() / 1000)]
        )

    async def _revise_observed(self, tracked: TrackedBatch, batch: Batch) -> None:
        """Files that were listed only after it was settled: a revision tells what they hold."""
        try:
            await self._poller.revise(self._accounts.get(tracked.account), tracked, batch)
        except (ProviderError, UsageError) as error:
            self._compared.forget()  # the next who looks tries again
            log.warning("batch %s: its late files cannot be read: %s", tracked.batch_id, error)

    async def _settle_observed(self, account: str, batch_id: str) -> None:
        """Nothing to do where somebody holds or has settled it."""
        claiming = self._ledger.claim(account, batch_id, owner=self.owner, lease_seconds=self._options.lease)
        claim = await take(claiming, self._give_back)
        if claim is not None:
            self._serve([claim])

    async def _give_back(self, claim: Claim | None) -> None:
        await self._poller.give_back([] if claim is None else [claim])

    def _provider(self, state: AccountState) -> Provider | None:
        """None leaves the account's batches to a process that is configured for it."""
        if state.refused:
            self.batch_accounts.refused(state.account)
        try:
            return self._accounts.get(state.account)
        except UsageError as error:
            log.warning("account %s has open batches but cannot be used here: %s", state.account, error)
            state.unusable_until = self._ledger.now() / 1000 + self._options.unusable
            return None

    async def _rest(self) -> float:
        """Seconds until something is due, or an account is tried again."""
        now = self._ledger.now() / 1000
        states = self._known()
        due = await self._ledger.next_due_at([state.account for state in states if state.ready(now)])
        moments = [state.resumes_at for state in states if state.resumes_at > now]
        if due is not None:
            moments.append(due / 1000)
        return min([self._options.idle, *(max(moment - now, 0.05) for moment in moments)])

    async def _reconcile_now_and_then(self) -> None:
        """Lost creates, late files, and what others made."""
        while True:
            await self._tolerant(self._ledger.correct_times, 0)
            await asyncio.gather(
                self._tolerant(self.reconcile, 0),
                self._tolerant(self._look_for_late_files, 0),
                self._tolerant(lambda: self._timetable.durations.refresh(self._ledger), None),
                self._tolerant(lambda: self._adoption.sweep_all(self._options.adopt), None),
                self._tolerant(self._ledger.roll_spend, 0),
            )
            await self._sleep(self._options.reconcile)

    async def _tolerant(self, work: Callable[[], Coroutine[Any, Any, Any]], fallback: Any) -> Any:
        """A ledger that is away, or a bug: said in the log, and tried again later."""
        try:
            return await work()
        except LedgerError as error:
            log.warning("tracker: %s", error)
        except Exception:
            log.exception("tracker: a step failed")
        return fallback

    def _known(self) -> list[AccountState]:
        return [self._state(account) for account in sorted({*self._accounts.names(), *self._also})]

    def _state(self, account: str) -> AccountState:
        if account not in self._states:
            budget = Budget(lambda: self._ledger.now() / 1000, self._sleep, most=self._options.requests_per_second)
            options = self._options
            self._states[account] = AccountState(
                account, self._random, budget, options.looks, options.downloads, options.longest_pause
            )
        return self._states[account]

    def _recorded(self) -> None:
        self._on_event()
        self._wake.set()
