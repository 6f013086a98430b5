"""Retrieves that spare the provider: final batches from the ledger, one call for all who ask at the same time."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from batchmeter.client import AsyncClient
from batchmeter.models import Batch
from batchmeter.tracking.tag import without_tag

_MANY = 4096
"""Answers kept before the old ones are looked for and dropped."""


@dataclass(slots=True)
class _Flight:
    """One upstream call, its answer, and when that came."""

    task: asyncio.Task[Batch]
    landed: float | None = None


class Reads:
    """What the proxy knows about batches without asking again."""

    def __init__(self, client: AsyncClient, freshness: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._freshness = freshness
        self._clock = clock
        self._flights: dict[tuple[str, str], _Flight] = {}

    async def batch(self, account: str | None, batch_id: str) -> Batch:
        """As the provider shows it, or showed it less than `freshness` ago; what it shows advances the ledger."""
        ledger = (await self._client.ready()).ledger
        tracked = await ledger.get_batch(batch_id, account)
        if tracked is not None and (tracked.settled_at is not None or _final(tracked.batch)):
            return without_tag(tracked.batch)
        name = (tracked.account if tracked else account) or self._client.accounts.default
        return await asyncio.shield(self._flight((name, batch_id)).task)

    def forget(self, account: str, batch_id: str) -> None:
        """Something changed it: the next one who asks is told by the provider."""
        self._flights.pop((account, batch_id), None)

    async def aclose(self) -> None:
        tasks = [flight.task for flight in self._flights.values()]
        self._flights.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _flight(self, key: tuple[str, str]) -> _Flight:
        flight = self._flights.get(key)
        if flight is None or self._stale(flight):
            self._make_room()
            task = asyncio.create_task(self._client.batches.retrieve(key[1], custom_llm_provider=key[0]))
            flight = self._flights[key] = _Flight(task)
            task.add_done_callback(lambda done: self._land(key, done))
        return flight

    def _land(self, key: tuple[str, str], task: asyncio.Task[Batch]) -> None:
        flight = self._flights.get(key)
        failed = task.cancelled() or task.exception() is not None
        if flight is None or flight.task is not task:
            return
        if failed or self._freshness <= 0:
            del self._flights[key]
        else:
            flight.landed = self._clock()

    def _stale(self, flight: _Flight) -> bool:
        return flight.landed is not None and self._clock() - flight.landed > self._freshness

    def _make_room(self) -> None:
        if len(self._flights) >= _MANY:
            self._flights = {key: flight for key, flight in self._flights.items() if not self._stale(flight)}


def _final(batch: Batch) -> bool:
    """Ended, and not in the moment when a completed batch has its counts but no output file yet."""
    counts = batch.request_counts
    awaited = counts is not None and counts.completed > 0 and batch.output_file_id is None
    return batch.ended and not (batch.status == "completed" and awaited)
