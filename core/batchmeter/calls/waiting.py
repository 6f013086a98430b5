"""Waits for one batch: looks at it often, and returns its settlement, whichever process writes it."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from batchmeter.errors import AuthenticationError, LedgerError, PermissionDeniedError, SettlementError, UsageError
from batchmeter.events import Settlement
from batchmeter.ledger.records import Claim, TrackedBatch
from batchmeter.models import Batch
from batchmeter.providers import Provider
from batchmeter.tracker.lease import LeaseLostError, nap, to_the_end
from batchmeter.tracker.metadata_tag import without_tag
from batchmeter.tracker.poller import Poller
from batchmeter.tracker.schedule import after_error, pause_asked
from batchmeter.tracker.tracker import Tracker

OnUpdate = Callable[[Batch], object]
"""Called with each new look at the batch; may return an awaitable."""
LONGEST_OUTAGE_PAUSE = 30.0


async def wait_for(
    tracker: Tracker,
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
    provider = provider or tracker.accounts.get(account)
    tracker.notify(account)
    return await Wait(tracker.poller, provider, account, batch_id, on_update).settled(timeout)


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait, in the caller's task."""

    poller: Poller
    provider: Provider
    account: str
    batch_id: str
    on_update: OnUpdate | None

    async def settled(self, timeout: float | None) -> Settlement:
        """SettlementError after `timeout` seconds, and where nobody tracks the batch."""
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await self._wait()
        except TimeoutError as error:
            if not limit.expired():
                raise
            tracked = await self.poller.ledger.get_batch(self.batch_id, self.account)
            state = f"it is {tracked.batch.status}" if tracked else "it is not tracked"
            why = f" ({tracked.last_error})" if tracked and tracked.last_error else ""
            raise SettlementError(
                f"batch {self.batch_id} was not settled within {timeout:g} s: {state}{why}; "
                "it stays tracked, wait again"
            ) from error

    async def _wait(self) -> Settlement:
        poller, pause = self.poller, 0.0
        started = looked_at = poller.ledger.now()
        with poller.watch.on(self.account, self.batch_id) as changed:
            while True:
                changed.clear()
                tracked = await poller.ledger.get_batch(self.batch_id, self.account)
                if tracked is not None and tracked.settled_at is not None:
                    return await self._settled_elsewhere()
                now = poller.ledger.now()
                if not 0 <= now - looked_at < pause * 1000:  # else another worker's step woke us: no reason for a look
                    result = await self._look(tracked)
                    if isinstance(result, Settlement):
                        return result
                    looked_at = now = poller.ledger.now()
                    pause = max(interactive((now - started) / 1000), result)
                await nap(poller.sleep, changed, pause - (now - looked_at) / 1000)

    async def _settled_elsewhere(self) -> Settlement:
        """Another worker has settled it; its event may be ours to deliver."""
        found = await self.poller.ledger.settlement(self.batch_id, self.account)
        if found is None:
            raise SettlementError(f"batch {self.batch_id} of account {self.account} has been pruned from the ledger")
        self.poller.recorded()
        return found[0]

    async def _look(self, tracked: TrackedBatch | None) -> Settlement | float:
        """Its settlement, or the seconds to wait at least."""
        if tracked is None:
            raise SettlementError(
                f"batch {self.batch_id} of account {self.account} is not tracked: submit or adopt it first"
            )
        if tracked.next_poll_at is not None and tracked.batch.ended and tracked.attempts:
            put_off = tracked.next_poll_at - self.poller.ledger.now()
            if put_off > 0:  # an end that could not be read is tried again then, by whoever tried it last
                return put_off / 1000
        claim = await self.poller.claim(self.account, self.batch_id, polled=tracked.poll_count)
        if claim is None:
            await self._tell(tracked.batch)
            return 0.0
        try:
            return await self._follow(claim)
        except LeaseLostError:
            return 0.0
        except BaseException:
            await to_the_end(self.poller.give_back([claim]))
            raise

    async def _follow(self, claim: Claim) -> Settlement | float:
        try:
            batch = await self.poller.newest(self.provider, claim.tracked)
        except Exception as error:  # noqa: BLE001 - an outage is waited out
            return await self._failed(claim, error)
        await self._tell(batch)
        try:
            result = await self.poller.follow(self.provider, claim, snapshot=batch)
        except (LeaseLostError, LedgerError):
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return await self._failed(claim, error)
        return result if isinstance(result, Settlement) or batch.ended else 0.0

    async def _failed(self, claim: Claim, error: Exception) -> Settlement | float:
        """A refused key or a wrong setting is the caller's to mend; anything else passes."""
        gone = await self.poller.failed(claim, error)
        if isinstance(error, AuthenticationError | PermissionDeniedError | UsageError):
            raise error
        if isinstance(gone, Settlement):
            return gone
        pause = after_error(
            claim.tracked.error_count + 1, self.poller.timetable.random, first=1.0, longest=LONGEST_OUTAGE_PAUSE
        )
        return max(pause, pause_asked(error, self.poller.options.longest_pause) or 0.0)

    async def _tell(self, batch: Batch) -> None:
        if self.on_update is not None:
            answer = self.on_update(without_tag(batch))
            if inspect.isawaitable(answer):
                await answer


def interactive(waited: float) -> float:
    """Seconds until the next look: a few within the first second, then one each second, slower as the wait grows."""
    return min(max(waited * 0.05, min(waited + 0.1, 1.0)), 15.0)
