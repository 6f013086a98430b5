"""Retrieves that spare the provider: final batches from the ledger, one call for all who ask at the same time."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from batchmeter import AsyncClient
from batchmeter.access import KnownBatch, access_of
from batchmeter.models import Attribution

from .answers import rendered

_MANY = 4096
"""Answers kept; a batch's is 1 KB."""


@dataclass(frozen=True, slots=True)
class Known:
    """A batch as it was last shown, and until when that serves."""

    account: str
    attribution: Attribution | None
    """None: nobody submitted it here."""
    body: bytes
    until: float


MaySee = Callable[[str, Attribution | None], None]
"""Raises Refusal where the caller may not use the account, or see what carries this attribution."""


class Reads:
    """Batches that the proxy knows without asking again."""

    def __init__(self, client: AsyncClient, freshness: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._freshness = freshness
        self._clock = clock
        self._known: dict[tuple[str | None, str], Known] = {}
        self._flights: dict[tuple[str, str], asyncio.Task[bytes]] = {}

    async def batch(self, account: str | None, batch_id: str, may_see: MaySee) -> bytes:
        """Its JSON, as the provider shows it, or showed it less than `freshness` ago, or once it was final.

        `account` None leaves that to the ledger, else it is the default. What is shown advances the ledger.
        """
        known = self._known.get((account, batch_id))
        if known is None or self._clock() > known.until:
            known = await self._look(account, batch_id, may_see)
        else:
            may_see(known.account, known.attribution)
        return known.body

    def forget(self, account: str, batch_id: str) -> None:
        """Something changed it: the next one who asks is told by the provider."""
        for name in (account, None):
            self._known.pop((name, batch_id), None)

    async def aclose(self) -> None:
        tasks = list(self._flights.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, named: str | None, batch_id: str, may_see: MaySee) -> Known:
        access = await access_of(self._client)
        tracked = await access.batch(batch_id, named)
        account = tracked.account if tracked else named or self._client.accounts.default
        attribution = tracked.attribution if tracked else None
        may_see(account, attribution)
        if tracked is not None and is_final(tracked):
            known = Known(account, attribution, rendered(tracked.batch), math.inf)
        else:
            body = await asyncio.shield(self._flight(account, batch_id))
            known = Known(account, attribution, body, self._clock() + self._freshness)
        if known.until == math.inf or self._freshness > 0:
            self._keep(named, batch_id, known)
        return known

    def _flight(self, account: str, batch_id: str) -> asyncio.Task[bytes]:
        """The call that is under way, or a new one; it goes on when who asked first has left."""
        key = (account, batch_id)
        task = self._flights.get(key)
        if task is None:
            task = self._flights[key] = asyncio.create_task(self._fetch(account, batch_id))
            task.add_done_callback(lambda done: self._land(key, done))
        return task

    async def _fetch(self, account: str, batch_id: str) -> bytes:
        return rendered(await self._client.batches.retrieve(batch_id, custom_llm_provider=account))

    def _land(self, key: tuple[str, str], task: asyncio.Task[bytes]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # whoever still waits raises it; nobody may

    def _keep(self, named: str | None, batch_id: str, known: Known) -> None:
        if len(self._known) >= _MANY:
            now = self._clock()
            fresh = {key: one for key, one in self._known.items() if now <= one.until}
            self._known = fresh if len(fresh) < _MANY else {}
        self._known[named, batch_id] = known


def is_final(tracked: KnownBatch) -> bool:
    """Ended, and no output file can be listed any more: it is there, or nothing succeeded.

    A file may be late even after the settlement: the provider is asked again, and what it shows then is a revision.
    """
    batch, counts = tracked.batch, tracked.batch.request_counts
    if not batch.ended or batch.output_file_id is not None:
        return batch.ended
    if batch.status == "failed" and batch.in_progress_at is None:
        return True  # validation
    return counts is not None and counts.total > 0 and counts.failed >= counts.total
