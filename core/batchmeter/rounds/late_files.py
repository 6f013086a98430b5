"""Batches that were settled without their output: looked at a few times more, because providers list files late."""

import asyncio
import logging
from dataclasses import dataclass

from batchmeter.errors import BatchmeterError, LedgerError
from batchmeter.ledger.records import LateLook, is_another
from batchmeter.tracker.rows import with_id
from batchmeter.tracker.schedule import LATE_LOOKS
from batchmeter.tracker.tracker import Tracker

log = logging.getLogger("batchmeter")

LEASE_SECONDS = 600.0
"""A look that a crash cut short is made again after this."""
BLOCK = 20
"""Looks at the same time."""
ROUND_SECONDS = 30.0
"""No further block is begun after this: other rounds wait for this one."""


@dataclass(frozen=True, slots=True)
class LateFiles:
    """The ledger keeps what is to be looked at: any tracker does it, after a restart too."""

    tracker: Tracker

    async def look(self) -> int:
        """At those of the tracker's accounts that are due; returns how many have their output now."""
        ledger, accounts = self.tracker.ledger, self.tracker.ready_accounts()
        found, end = 0, ledger.now() + ROUND_SECONDS * 1000
        while ledger.now() < end:
            looks = await ledger.claim_late_looks(accounts, lease_seconds=LEASE_SECONDS, limit=BLOCK)
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
        except Exception as error:  # one that always fails is looked at no more often, and stops no other
            bug = None if isinstance(error, BatchmeterError) else error
            level = logging.DEBUG if bug is None else logging.ERROR
            log.log(level, "batch %s: its late files cannot be looked for: %s", look.batch_id, error, exc_info=bug)
            found = False
        done = found or look.looks + 1 == len(LATE_LOOKS)
        again_at = None if done else look.settled_at + round(LATE_LOOKS[look.looks + 1] * 1000)
        await self.tracker.ledger.finish_late_look(look, again_at)
        return found

    async def _found(self, look: LateLook) -> bool:
        poller, provider = self.tracker.poller, self.tracker.accounts.get(look.account)
        batch = with_id(await poller.look(provider, look.batch_id), look.batch_id)
        tracked = await self.tracker.ledger.observe(look.account, batch)
        if tracked is None or is_another(tracked.batch, batch):
            return True  # pruned, or its server has given its id to another: nobody waits for its files any more
        return await poller.revise(provider, tracked, batch) and batch.output_file_id is not None
