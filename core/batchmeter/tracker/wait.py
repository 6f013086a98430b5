"""Somebody waits for one batch: look at it often, and return its settlement whoever writes it."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from batchmeter.errors import AuthenticationError, LedgerError, PermissionDeniedError, SettlementError, UsageError
from batchmeter.events import Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Claim, TrackedBatch
from batchmeter.models import Batch
from batchmeter.providers import Provider

from .lease import LeaseLostError, Sleep, Watch, nap, take
from .metadata_tag import without_tag
from .poller import Poller
from .schedule import after_error, interactive, pause_asked

OnUpdate = Callable[[Batch], object]
"""Called with each new look at the batch; may return an awaitable."""


@dataclass(frozen=True, slots=True)
class Waiter:
    """Waits for batches, in the caller's task."""

    ledger: Ledger
    poller: Poller
    watch: Watch
    sleep: Sleep
    owner: str
    lease_seconds: float

    async def wait(
        self, provider: Provider, account: str, batch_id: str, *, timeout: float | None, on_update: OnUpdate | None
    ) -> Settlement:
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await self._wait(provider, account, batch_id, on_update)
        except TimeoutError as error:
            if not limit.expired():
                raise
            tracked = await self.ledger.get_batch(batch_id, account)
            state = f"it is {tracked.batch.status}" if tracked else "it is not tracked"
            why = f" ({tracked.last_error})" if tracked and tracked.last_error else ""
            raise SettlementError(
                f"batch {batch_id} was not settled within {timeout:g} s: {state}{why}; it stays tracked, wait again"
            ) from error

    async def _wait(self, provider: Provider, account: str, batch_id: str, on_update: OnUpdate | None) -> Settlement:
        started = look_at = self.ledger.now()
        with self.watch.on(account, batch_id) as changed:
            while True:
                changed.clear()
                tracked = await self.ledger.get_batch(batch_id, account)
                if tracked is not None and tracked.settled_at is not None:
                    return await self._elsewhere(account, batch_id)
                if self.ledger.now() >= look_at:  # else another worker's step woke us: that is no reason for a look
                    result = await self._turn(provider, account, batch_id, tracked, on_update)
                    if isinstance(result, Settlement):
                        return result
                    now = self.ledger.now()
                    look_at = now + int(max(interactive((now - started) / 1000), result) * 1000)
                await nap(self.sleep, changed, (look_at - self.ledger.now()) / 1000)

    async def _elsewhere(self, account: str, batch_id: str) -> Settlement:
        """Another worker has settled it; its event may be ours to deliver."""
        found = await self.ledger.settlement(batch_id, account)
        if found is None:
            raise SettlementError(f"batch {batch_id} of account {account} has been pruned from the ledger")
        self.poller.recorded()
        return found[0]

    async def _turn(
        self,
        provider: Provider,
        account: str,
        batch_id: str,
        tracked: TrackedBatch | None,
        on_update: OnUpdate | None,
    ) -> Settlement | float:
        """Its settlement, or the seconds to wait at least."""
        if tracked is None:
            raise SettlementError(f"batch {batch_id} of account {account} is not tracked: submit or adopt it first")
        put_off = self._put_off(tracked)
        if put_off:
            return put_off
        claiming = self.ledger.claim(
            account, batch_id, owner=self.owner, lease_seconds=self.lease_seconds, polled=tracked.poll_count
        )
        claim = await take(claiming, self._give_back)
        if claim is not None:
            return await self._step(provider, claim, on_update)
        await _tell(on_update, tracked.batch)
        return 0.0

    async def _give_back(self, claim: Claim | None) -> None:
        await self.poller.give_back([] if claim is None else [claim])

    def _put_off(self, tracked: TrackedBatch) -> float:
        """Seconds until an end that could not be read is tried again, by whoever tried it last."""
        if tracked.next_poll_at is None or not tracked.batch.ended or not tracked.attempts:
            return 0.0
        return max((tracked.next_poll_at - self.ledger.now()) / 1000, 0.0)

    async def _step(self, provider: Provider, claim: Claim, on_update: OnUpdate | None) -> Settlement | float:
        """As `_turn`, of a batch that is ours now."""
        try:
            try:
                batch = await self.poller.newest(provider, claim.tracked)
            except Exception as error:  # noqa: BLE001 - an outage is waited out
                return await self._failed(claim, error)
            await _tell(on_update, batch)
            try:
                result = await self.poller.follow(provider, claim, snapshot=batch)
            except (LeaseLostError, LedgerError):
                raise
            except Exception as error:  # noqa: BLE001 - as above
                return await self._failed(claim, error)
        except LeaseLostError:
            return 0.0
        except BaseException:
            await self.poller.give_back([claim])
            raise
        return result if isinstance(result, Settlement) or batch.ended else 0.0

    async def _failed(self, claim: Claim, error: Exception) -> Settlement | float:
        """A refused key or a wrong setting is the caller's to mend; anything else passes."""
        gone = await self.poller.failed(claim, error)
        if isinstance(error, AuthenticationError | PermissionDeniedError | UsageError):
            raise error
        if isinstance(gone, Settlement):
            return gone
        pause = after_error(claim.tracked.error_count + 1, self.poller.timetable.random, first=1.0)
        return max(min(pause, 30.0), pause_asked(error, self.poller.longest_pause) or 0.0)


async def _tell(on_update: OnUpdate | None, batch: Batch) -> None:
    if on_update is not None:
        answer = on_update(without_tag(batch))
        if inspect.isawaitable(answer):
            await answer
