"""Keeps claims while long work goes on; the work is cancelled when its lease is lost, since its result counts no more."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from batchmeter.errors import LedgerError
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Claim

log = logging.getLogger("batchmeter")


class LeaseLostError(Exception):
    """Somebody else holds the batch now."""


@dataclass(slots=True, eq=False)
class Held:
    """A claim in use, in its newest form."""

    claim: Claim
    work: asyncio.Task[Any]
    lost: bool = False


@dataclass
class Leases:
    """All that one process holds, renewed together: one statement, however many batches wait for their turn."""

    ledger: Ledger
    seconds: float
    _held: set[Held] = field(default_factory=set[Held])
    _nudge: asyncio.Event = field(default_factory=asyncio.Event)
    _keeper: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def held(self, claim: Claim) -> AsyncGenerator[None]:
        """Renewed until the block ends; LeaseLostError when it was taken over."""
        work = asyncio.current_task()
        assert work is not None
        mine = Held(claim, work)
        self._held.add(mine)
        self._keep(mine)
        try:
            yield
        except asyncio.CancelledError:
            if mine.lost and work.uncancel() == 0:
                raise LeaseLostError(claim.tracked.batch_id) from None
            raise
        finally:
            self._held.discard(mine)
            self._rest()

    def _keep(self, mine: Held) -> None:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._work(), name="batchmeter-leases")
        if self._left(mine) < 1 / 2:
            self._nudge.set()

    def _rest(self) -> None:
        """Nothing is held: nothing goes on. It waits for nothing, so that what the block has taken cannot be lost here."""
        if not self._held and self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None

    async def _work(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.seconds / 4):
                    await self._nudge.wait()
            self._nudge.clear()
            await self._renew([mine for mine in self._held if self._left(mine) < 2 / 3])

    def _left(self, mine: Held) -> float:
        """Of the lease, as a share."""
        return (mine.claim.expires_at - self.ledger.now()) / 1000 / self.seconds

    async def _renew(self, due: list[Held]) -> None:
        if not due:
            return
        try:
            renewed = await self.ledger.renew([mine.claim for mine in due], lease_seconds=self.seconds)
        except Exception as error:  # the ledger may be back before they end
            log.warning("%d leases not renewed: %s", len(due), error, exc_info=not isinstance(error, LedgerError))
            return
        newest = {(claim.tracked.account, claim.tracked.batch_id, claim.token): claim for claim in renewed}
        for mine in due:
            claim = mine.claim
            found = newest.get((claim.tracked.account, claim.tracked.batch_id, claim.token))
            if found is not None:
                mine.claim = found
            elif mine in self._held:  # else its work has just ended, and so has the claim
                mine.lost = True
                mine.work.cancel()
