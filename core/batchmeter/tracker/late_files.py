"""Batches that were settled without their output: looked at a few times more, because providers list files late."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from batchmeter.accounts import Accounts
from batchmeter.errors import BatchmeterError, LedgerError
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import LateLook, TrackedBatch, is_another
from batchmeter.models import Batch
from batchmeter.providers import CallOptions, Provider

from .account_state import answer_in_time
from .adopt import with_id

log = logging.getLogger("batchmeter")

LATE_LOOKS = (900.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds after the settlement at which its batch is looked at once more."""
LOOK_SECONDS = 60.0
LEASE_SECONDS = 600.0
"""A look that a crash cut short is made again after this."""
BLOCK = 20
"""Looks at the same time."""
ROUND_SECONDS = 30.0
"""No further block is begun after this: lost creates are looked for in the same round."""


@dataclass(frozen=True, slots=True)
class LateFiles:
    """The ledger keeps what is to be looked at: any tracker does it, after a restart too."""

    ledger: Ledger
    accounts: Accounts
    revise: Callable[[Provider, TrackedBatch, Batch], Awaitable[bool]]
    """Makes a revision of files that the settlement has not seen; False where they cannot be read yet."""

    async def look(self, accounts: Collection[str]) -> int:
        """At those of these accounts that are due; returns how many have their output now."""
        found, end = 0, self.ledger.now() + ROUND_SECONDS * 1000
        while self.ledger.now() < end:
            looks = await self.ledger.claim_late_looks(accounts, lease_seconds=LEASE_SECONDS, limit=BLOCK)
            results = await asyncio.gather(*map(self._look, looks), return_exceptions=True)
            found += sum(result is True for result in results)
            for error in results:
                if isinstance(error, BaseException):
                    raise error
            if len(looks) < BLOCK:
                break
        return found

    async def _look(self, look: LateLook) -> bool:
        try:
            found = await self._found(look)
        except LedgerError:
            raise  # due again after the lease
        except BatchmeterError as error:
            log.debug("batch %s: its late files cannot be looked for: %s", look.batch_id, error)
            found = False
        done = found or look.looks + 1 == len(LATE_LOOKS)
        again_at = None if done else look.settled_at + round(LATE_LOOKS[look.looks + 1] * 1000)
        await self.ledger.finish_late_look(look, again_at)
        return found

    async def _found(self, look: LateLook) -> bool:
        provider = self.accounts.get(look.account)
        asked = provider.retrieve_batch(look.batch_id, CallOptions(timeout=LOOK_SECONDS))
        batch = with_id(await answer_in_time(provider, asked, LOOK_SECONDS), look.batch_id)
        tracked = await self.ledger.observe(look.account, batch)
        if tracked is None or is_another(tracked.batch, batch):
            return True  # pruned, or its server has given its id to another: nobody waits for its files any more
        return await self.revise(provider, tracked, batch) and batch.output_file_id is not None
