"""Keep a claim while long work goes on; the work is cancelled when the lease is lost, since its result counts no more."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from batchmeter.errors import LedgerError
from batchmeter.ledger.port import Claim, Ledger

log = logging.getLogger("batchmeter")


class LeaseLostError(Exception):
    """Somebody else holds the batch now."""


class Lease:
    """The newest form of a claim."""

    def __init__(self, ledger: Ledger, claim: Claim, seconds: float) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self.claim = claim

    async def renew(self) -> None:
        renewed = await self._ledger.renew(self.claim, lease_seconds=self._seconds)
        if renewed is None:
            raise LeaseLostError(self.claim.tracked.batch_id)
        self.claim = renewed

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Renewed at a third of its time, until the block ends; LeaseLostError when it was taken over."""
        if self.claim.expires_at - self._ledger.now() < self._seconds * 1000 * 2 / 3:
            await self.renew()
        work = asyncio.current_task()
        assert work is not None
        lost = done = False

        async def keep() -> None:
            nonlocal lost
            while not done:  # even if something swallows the cancellation
                await asyncio.sleep(self._seconds / 3)
                try:
                    await self.renew()
                except LeaseLostError:
                    lost = True
                    work.cancel()
                    return
                except LedgerError as error:
                    log.warning("batch %s: lease not renewed: %s", self.claim.tracked.batch_id, error)

        keeper = asyncio.create_task(keep(), name="batchmeter-lease")
        try:
            yield
        except asyncio.CancelledError:
            if lost and work.uncancel() == 0:
                raise LeaseLostError(self.claim.tracked.batch_id) from None
            raise
        finally:
            done = True
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
