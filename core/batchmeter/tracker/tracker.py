"""The loop that follows open batches to their end; any number may run, on any number of machines."""

import asyncio
import logging
import random as stdlib_random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import cache
from typing import Any

from batchmeter.accounts import Accounts
from batchmeter.discovery import contained, entries
from batchmeter.errors import LedgerError
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Claim, Intent, TrackedBatch
from batchmeter.models import Batch
from batchmeter.plugins import Plugins
from batchmeter.pricing.groups import PriceSource
from batchmeter.providers import Provider

from .account_state import UNUSABLE_SECONDS, AccountState, Budget
from .lease import Sleep, nap, owner_name, to_the_end
from .poller import Poller, Summary
from .rows import BatchRows, with_id
from .schedule import DEFAULTS, Random, Timetable, TrackerOptions
from .settle import Meter, meter_with

log = logging.getLogger("batchmeter")

GROUP = "batchmeter.tracker"
"""Entry points of functions that give a new tracker its rounds."""

Round = Callable[[], Awaitable[int]]
"""Work beside the batches' stories, each minute; returns how much it found."""


@cache
def extensions() -> "tuple[Callable[[Tracker], None], ...]":
    """The installed functions; one that cannot be imported is logged and left out."""
    found: list[Callable[[Tracker], None]] = []
    for entry in entries(GROUP):
        try:
            found.append(contained(entry.load))  # a package that exits or hangs stops nobody
        except Exception:
            log.exception("the rounds of %s cannot be used", entry.name)
    return tuple(found)


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
        self.ledger = ledger
        self.accounts = accounts
        self.options = options
        self.heartbeat: float | None = None
        """When a round last ended (epoch seconds)."""
        self.timetable = Timetable(ledger.now, random)
        self.poller = Poller(
            ledger,
            plugins,
            meter or meter_with(prices, plugins),
            self.timetable,
            options,
            owner or owner_name(),
            sleep,
            self._recorded,
        )
        self.rows = BatchRows(ledger, accounts)
        self.rounds: dict[str, Round] = {}
        self.upkeep: dict[str, Round] = {}
        """Rounds that a single pass does without."""
        self.sum_up: Callable[[int | None], Awaitable[int]] | None = None
        """Adds endings to the sums of costs, at most so many blocks of them, when there is nothing else to do."""
        self.find_lost_create: Callable[[Provider, Intent], Awaitable[Batch | None]] = _nothing_found
        """Looks among an account's newest for the batch of a create whose answer was lost."""
        self.late_files: Callable[[TrackedBatch, Batch], Coroutine[Any, Any, None]] | None = None
        """Reads files that are shown only after their batch was settled."""
        self._on_event = on_event
        self._also: set[str] = set()
        self._states: dict[str, AccountState] = {}
        for extend in extensions():
            extend(self)

    # for the rest of the process

    def notify(self, account: str | None = None) -> None:
        """Something is new in the ledger; `account` is one that only this process knows."""
        if account is not None:
            self._also.add(account)
        self.poller.wake.set()

    async def shown(self, provider: Provider, batch: Batch) -> None:
        """A provider's answer to anyone: where the batch is tracked, it advances."""
        known = await self.rows.shown(provider, batch)
        if known is not None:
            await self.observed(known.account, with_id(batch, known.batch_id))

    async def observed(self, account: str, batch: Batch) -> None:
        """Anyone's answer about a batch advances it; its end is settled at once, whether or not `run` is running."""
        tracked = await self.ledger.observe(account, batch)
        if tracked is None or not batch.ended:
            return
        if tracked.settled_at is None:
            self._also.add(account)
            self.poller.start(self._settle_observed(account, batch.id))
        elif self.late_files is not None and (batch.output_file_id or batch.error_file_id):
            self.poller.start(self.late_files(tracked, batch))

    async def tell(self, account: str, batch_id: str) -> bool:
        """A webhook says that it has ended: look at once. False: it is settled, or nobody's."""
        tracked = await self.ledger.get_batch(batch_id, account)
        if not await self.ledger.wake(account, batch_id):
            return False
        if tracked is not None and not tracked.batch.ended:
            self.timetable.hints.note(account, batch_id)
        self.notify(account)
        return True

    async def idle(self) -> None:
        """Returns when no settlement is under way here."""
        while settling := [task for task in self.poller.tasks if not task.done()]:
            await asyncio.wait(settling)

    # the loop

    async def run(self) -> None:
        """Until cancelled; no error ends it. What is under way when it is cancelled is given back."""
        poller, rounds = self.poller, asyncio.create_task(self._each_minute(), name="batchmeter rounds")
        try:
            while True:
                poller.wake.clear()
                found = await self._tolerant(self._round, 0)
                self.heartbeat = time.time()
                if not found:
                    await self._tolerant(lambda: self._sums(1), 0)
                    await nap(poller.sleep, poller.wake, await self._tolerant(self._rest, self.options.idle))
        finally:
            rounds.cancel()
            await self.stop()
            await asyncio.gather(rounds, return_exceptions=True)

    async def stop(self) -> None:
        """Cancel the work under way, also of `once` and of what calls were shown, and give its claims back."""
        poller, tasks = self.poller, list(self.poller.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._tolerant(lambda: poller.give_back(poller.unfinished), None)
        poller.unfinished.clear()

    async def once(self) -> Summary:
        """Every round, then everything that is due now, to its end."""
        await self._run(self.rounds.values())
        total, served = Summary(), set[str]()
        self.poller.total = total
        while claims := await self.poller.claim_due(self.ready_accounts()):
            again = [claim for claim in claims if claim.tracked.batch_id in served]
            served.update(claim.tracked.batch_id for claim in claims)
            self._serve([claim for claim in claims if claim not in again])
            await to_the_end(self.poller.give_back(again))
            await self.idle()
            if again:
                break
        await self._tolerant(self._sums, 0)
        return total

    async def _run(self, rounds: Iterable[Round]) -> None:
        """Run these rounds side by side; a round that fails stops no other."""
        await asyncio.gather(*(self._tolerant(each, 0) for each in rounds))

    async def _round(self) -> int:
        claims = await self.poller.claim_due(self.ready_accounts())
        self._serve(claims)
        return len(claims)

    def ready_accounts(self) -> list[str]:
        """Accounts whose due batches may be claimed here now."""
        now = self.ledger.now() / 1000
        return [state.account for state in self._known() if state.ready(now)]

    def _serve(self, claims: Sequence[Claim]) -> None:
        by_account: dict[str, list[Claim]] = {}
        for claim in claims:
            by_account.setdefault(claim.tracked.account, []).append(claim)
        for account, mine in by_account.items():
            state = self.state(account)
            if state.refused:
                self.rows.refused(account)
            try:
                provider = self.accounts.get(account)
            except Exception as error:  # noqa: BLE001 - whatever it is, others may be able to follow its batches
                log.warning("account %s has open batches but cannot be used here: %s", account, error)
                state.unusable_until = self.ledger.now() / 1000 + UNUSABLE_SECONDS
                self.poller.start(self.poller.give_back(mine), claims={claim.tracked.batch_id: claim for claim in mine})
            else:
                self.poller.start_due(state, provider, mine)

    async def _settle_observed(self, account: str, batch_id: str) -> None:
        """Nothing to do where somebody holds or has settled it."""
        claim = await self.poller.claim(account, batch_id)
        if claim is not None:
            self._serve([claim])

    async def _rest(self) -> float:
        """Seconds until something is due, or an account is tried again."""
        now = self.ledger.now() / 1000
        waits = [wait for state in self._known() if (wait := state.rest_left(now)) > 0]
        due = await self.ledger.next_due_at(self.ready_accounts())
        if due is not None:
            waits.append(due / 1000 - now)
        return min([self.options.idle, *(max(wait, 0.05) for wait in waits)])

    async def _each_minute(self) -> None:
        while True:
            await self._tolerant(self.ledger.correct_times, 0)
            await self._run([*self.rounds.values(), *self.upkeep.values(), self._sums])
            await self.poller.sleep(self.options.reconcile)

    async def _sums(self, blocks: int | None = None) -> int:
        return 0 if self.sum_up is None else await self.sum_up(blocks)

    async def _tolerant(self, work: Callable[[], Awaitable[Any]], fallback: Any) -> Any:
        """A ledger that is away, or a bug: said in the log, and tried again later."""
        try:
            return await work()
        except LedgerError as error:
            log.warning("tracker: %s", error)
        except Exception:
            log.exception("tracker: a step failed")
        return fallback

    def _known(self) -> list[AccountState]:
        return [self.state(account) for account in sorted({*self.accounts.names(), *self._also})]

    def state(self, account: str) -> AccountState:
        """An account as this tracker knows it."""
        if account not in self._states:
            sleep, random, rate = self.poller.sleep, self.timetable.random, self.options.requests_per_second
            budget = Budget(lambda: self.ledger.now() / 1000, sleep, most=rate)
            self._states[account] = AccountState(account, random, budget, self.options)
        return self._states[account]

    def _recorded(self) -> None:
        self._on_event()
        self.poller.wake.set()


async def _nothing_found(_provider: Provider, _intent: Intent) -> Batch | None:
    return None
