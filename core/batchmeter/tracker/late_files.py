"""Batches that were settled without their output: looked at a few times more, because providers list files late."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from batchmeter.accounts import Accounts
from batchmeter.errors import BatchmeterError, LedgerError
from batchmeter.ledger.records import Millis
from batchmeter.models import Batch
from batchmeter.providers import CallOptions, Provider

log = logging.getLogger("batchmeter")

LOOKS = (900.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds after the settlement at which its batch is looked at once more."""
LOOK_SECONDS = 60.0
MOST = 1000
"""Batches remembered; of more than these the oldest are left to whoever retrieves them."""


@dataclass(slots=True)
class LateFiles:
    """The batches that this process has settled so. A restart forgets them: then a retrieve by anybody finds their files."""

    now: Callable[[], Millis]
    accounts: Accounts
    shown: Callable[[Provider, Batch], Awaitable[None]]
    """Told what a look shows; it makes a revision of files that the settlement has not seen."""
    _settled: dict[tuple[str, str], tuple[Millis, int]] = field(
        default_factory=dict[tuple[str, str], tuple[Millis, int]]
    )
    """When, and how many looks there were since."""

    def expect(self, account: str, batch_id: str) -> None:
        self._settled[account, batch_id] = self.now(), 0
        while len(self._settled) > MOST:
            del self._settled[next(iter(self._settled))]

    async def look(self) -> int:
        """At those that are due; returns how many have their output now."""
        now = self.now()
        due = [key for key, (at, looks) in self._settled.items() if now >= at + LOOKS[looks] * 1000]
        return sum([await self._look(account, batch_id) for account, batch_id in due])

    async def _look(self, account: str, batch_id: str) -> bool:
        settled_at, looks = self._settled.pop((account, batch_id))
        try:
            provider = self.accounts.get(account)
            batch = await provider.retrieve_batch(batch_id, CallOptions(timeout=LOOK_SECONDS))
            await self.shown(provider, batch)
            found = batch.output_file_id is not None
        except LedgerError:
            self._settled[account, batch_id] = settled_at, looks
            raise
        except BatchmeterError as error:
            log.debug("batch %s: its late files cannot be looked for: %s", batch_id, error)
            found = False
        if not found and looks + 1 < len(LOOKS):
            self._settled[account, batch_id] = settled_at, looks + 1
        return found
