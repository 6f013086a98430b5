"""Serves one account's claimed batches: looks at the open ones, settles the ended ones."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchmeter.errors import BatchmeterError, LedgerError
from batchmeter.ledger.records import Claim, Reschedule, is_another
from batchmeter.models import Batch
from batchmeter.providers import Provider

from .follow import Follower
from .lane import Lane
from .lease import LeaseLostError, Leases
from .schedule import Random
from .settle import Later

log = logging.getLogger("batchmeter")

Spawn = Callable[[Coroutine[Any, Any, None]], object]
Cover = Callable[[Lane, Provider, Sequence[Claim], Random], Awaitable[dict[str, Batch]]]
"""Answers for many due batches in a few requests: batch id -> what the list showed. Those left out are looked up."""


@dataclass(slots=True)
class Summary:
    """What a tracker did."""

    claimed: int = 0
    looked: int = 0
    settled: int = 0
    put_off: int = 0
    """Ended, but not readable yet."""
    errors: int = 0

    def since(self, earlier: "Summary") -> "Summary":
        return Summary(
            self.claimed - earlier.claimed,
            self.looked - earlier.looked,
            self.settled - earlier.settled,
            self.put_off - earlier.put_off,
            self.errors - earlier.errors,
        )


@dataclass
class Server:
    """Work on claims, one account at a time; a claim that fails ends alone."""

    follower: Follower
    cover: Cover
    changed: Callable[[Claim], None]
    """Told after each step of a batch."""
    spawn: Spawn
    leases: Leases
    total: Summary = field(default_factory=Summary)

    async def serve(self, lane: Lane, provider: Provider, claims: Sequence[Claim]) -> None:
        """Every claim is ended, or handed to a settlement task, when this returns; released when it is cancelled."""
        self.total.claimed += len(claims)
        left = {claim.tracked.batch_id: claim for claim in claims}
        try:
            for claim in [claim for claim in claims if claim.tracked.retired_id is not None]:
                self.spawn(self._give_up(left.pop(claim.tracked.batch_id)))
            for claim in [claim for claim in left.values() if not self.follower.needs_look(claim)]:
                self._hand_on(lane, provider, left.pop(claim.tracked.batch_id), claim.tracked.batch)
            await self._covered(lane, provider, left)
            await self._one_by_one(lane, provider, left)
        except asyncio.CancelledError:
            await self.follower.release(list(left.values()))
            raise

    async def settle(self, lane: Lane, provider: Provider, claim: Claim, batch: Batch) -> None:
        """Read the answers and write the ending down."""
        lane.backlog += 1
        try:
            await self._guarded(claim, self._in_turn(lane, provider, claim, batch))
        except asyncio.CancelledError:
            await self.follower.release([claim])
            raise
        finally:
            lane.backlog -= 1
            self.changed(claim)

    async def _give_up(self, claim: Claim) -> None:
        await self._guarded(claim, self._forgotten(claim))

    async def _forgotten(self, claim: Claim) -> None:
        await self.follower.settler.give_up(claim)
        self.total.settled += 1
        self.changed(claim)

    async def _in_turn(self, lane: Lane, provider: Provider, claim: Claim, batch: Batch) -> None:
        """The lease is kept while others are settled first."""
        async with self.leases.held(claim):
            await lane.settling.acquire()
        try:
            await self._settle(lane, provider, claim, batch)
        finally:
            lane.settling.release()

    async def _settle(self, lane: Lane, provider: Provider, claim: Claim, batch: Batch) -> None:
        try:
            result = await self.follower.finish(provider, claim, batch)
        except (LeaseLostError, LedgerError):
            raise
        except Exception as error:  # noqa: BLE001 - the account's trouble: its breaker knows what to do
            await self._failed(lane, claim, error)
            return
        if isinstance(result, Later):
            self.total.put_off += 1
        else:
            self.total.settled += 1

    async def _covered(self, lane: Lane, provider: Provider, left: dict[str, Claim]) -> None:
        """Whatever a list answers for many at once; all its open batches are put off in one statement."""
        draw = self.follower.random()  # one for all: batches of one list stay in step, to be listed together again
        seen = await self.cover(lane, provider, list(left.values()), lambda: draw)
        later: list[Reschedule] = []
        for batch_id, batch in seen.items():
            if is_another(left[batch_id].tracked.batch, batch):
                continue
            claim = left.pop(batch_id)
            newest = self.follower.newer(claim, batch)
            if newest.ended:
                self._found(lane, provider, claim, newest)
            else:
                later.append(self.follower.still_open(claim, newest, lambda: draw, together=True))
        self.total.looked += len(seen)
        if later:
            await self.follower.ledger.reschedule(later)
            for result in later:
                self.changed(result.claim)

    async def _one_by_one(self, lane: Lane, provider: Provider, left: dict[str, Claim]) -> None:
        """The first alone while the account is in doubt, then a few at a time."""
        rest = list(left.values())
        if rest and lane.breaker.probing:
            await self._look(lane, provider, rest.pop(0), left)
        await asyncio.gather(*(self._look(lane, provider, claim, left) for claim in rest))

    async def _look(self, lane: Lane, provider: Provider, claim: Claim, left: dict[str, Claim]) -> None:
        async with lane.looking:
            await self._guarded(claim, self._look_at(lane, provider, claim))
        left.pop(claim.tracked.batch_id, None)

    async def _look_at(self, lane: Lane, provider: Provider, claim: Claim) -> None:
        if not lane.pause_left(self._now()):
            await lane.budget.take()
        if pause := lane.pause_left(self._now()):
            await self.follower.reschedule(claim, pause, error=lane.trouble)
            return
        try:
            batch = await self.follower.look_again(provider, claim)
        except Exception as error:  # noqa: BLE001 - whatever it is, this batch is put off and the others go on
            await self._failed(lane, claim, error)
            return
        lane.worked(self._now())
        self.total.looked += 1
        if batch.ended:
            self._found(lane, provider, claim, batch)
        else:
            await self.follower.ledger.reschedule([self.follower.still_open(claim, batch)])
            self.changed(claim)

    async def _failed(self, lane: Lane, claim: Claim, error: Exception) -> None:
        self.total.errors += 1
        now = self._now()
        lane.failed(error, now)
        bug = None if isinstance(error, BatchmeterError) else error
        text = f"{type(error).__name__}: {error}"
        log.warning("batch %s of %s: %s", claim.tracked.batch_id, lane.account, text, exc_info=bug)
        if await self.follower.failed(claim, error, not_before=lane.pause_left(now)) is not None:
            self.total.settled += 1
        self.changed(claim)

    def _now(self) -> float:
        return self.follower.ledger.now() / 1000

    def _found(self, lane: Lane, provider: Provider, claim: Claim, batch: Batch) -> None:
        if not claim.tracked.batch.ended:
            self.follower.found(lane.account, batch)
        self._hand_on(lane, provider, claim, batch)

    def _hand_on(self, lane: Lane, provider: Provider, claim: Claim, batch: Batch) -> None:
        self.spawn(self.settle(lane, provider, claim, batch))

    async def _guarded(self, claim: Claim, work: Coroutine[Any, Any, None]) -> None:
        """A claim that is lost, or a ledger that is away, costs this claim only: its lease runs out, and it is due."""
        try:
            await work
        except LeaseLostError:
            log.debug("batch %s: another worker has it", claim.tracked.batch_id)
        except LedgerError as error:
            log.warning("batch %s: %s", claim.tracked.batch_id, error)
        except Exception:
            log.exception("batch %s: its step failed", claim.tracked.batch_id)
