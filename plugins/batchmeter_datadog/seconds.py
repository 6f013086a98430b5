"""Which second a count belongs to, and what that second's value is.

Datadog keeps one value for each metric, tags and second: the last one sent. Two batches that end in one second would be
one. So the value sent for a second is the sum over all events that the ledger recorded in it, once that second is over:
the same from any process, and however often it is sent. An event too old for its own second gets one that is free.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from batchmeter.errors import RetryLater
from batchmeter.events import Event

from .points import Counts, counts
from .tags import Tags

if TYPE_CHECKING:
    from batchmeter.ledger.port import Ledger

FRESH = 3000
"""Seconds: Datadog takes points up to an hour old."""
_OVER = 2
"""Seconds after which nothing more will be recorded for a second."""
_AROUND = 10
"""Seconds by which an event's own time and the time of its recording may differ."""
_PAGE = 500
_KEPT = 300


@dataclass
class Seconds:
    """`at` gives an event's second and counts; `clock` is epoch seconds."""

    tags: Tags
    historical: bool = False
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ledger: "Ledger | None" = None
    """Set at startup; without it (the class used by hand) each event gets a second of its own."""
    redact: Callable[[Event], Awaitable[Event]] | None = None
    _sums: "OrderedDict[int, Counts]" = field(default_factory=OrderedDict[int, Counts])
    _taken: set[int] = field(default_factory=set[int])
    _given: "OrderedDict[str, int]" = field(default_factory=OrderedDict[str, int])
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def at(self, event: Event) -> tuple[int, Counts]:
        own = counts(event, self.tags)
        second = int(event.time.timestamp())
        if self.ledger is None or not (self.historical or self.clock() - second <= FRESH):
            return self._free(event), own
        await self.sleep(max(0.0, second + 1 + _OVER - self.clock()))
        async with self._lock:
            if second not in self._sums:
                self._sums[second] = await self._sum(self.ledger, second)
                if len(self._sums) > _KEPT:
                    self._sums.popitem(last=False)
        total = self._sums[second]
        return second, {key: total.get(key, amount) for key, amount in own.items()}

    async def _sum(self, ledger: "Ledger", second: int) -> Counts:
        """Over events as loggers may see them."""
        total: Counts = {}
        after = 0
        while page := await ledger.events(after=after, since=(second - _AROUND) * 1000, limit=_PAGE):
            for stored in page:
                if int(stored.event.time.timestamp()) == second:
                    seen = stored.event if self.redact is None else await self.redact(stored.event)
                    for key, amount in counts(seen, self.tags).items():
                        total[key] = total.get(key, Decimal(0)) + amount
            after = page[-1].seq
            if page[-1].event.time.timestamp() > second + _AROUND:
                break
        return total

    def _free(self, event: Event) -> int:
        """The newest second of the last hour that no other event of this process has; the same on a retry."""
        now = int(self.clock())
        if self._given.get(event.id, 0) > now - FRESH:
            return self._given[event.id]
        while self._given and (eldest := next(iter(self._given.values()))) < now - FRESH:
            self._given.popitem(last=False)
            self._taken.discard(eldest)
        free = next((second for second in range(now, now - FRESH, -1) if second not in self._taken), None)
        if free is not None:
            self._taken.add(free)
            self._given[event.id] = free
            return free
        raise RetryLater("all seconds of the last hour are taken by other late events", after=60)
