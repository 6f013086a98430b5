"""Free seconds: a count that comes too late for its own second gets another one, which no process has used."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchmeter.errors import RetryLater

from .answers import Answers, Memory

if TYPE_CHECKING:
    from batchmeter.host import PluginHost

FRESH = 3000
"""Seconds: Datadog takes points up to an hour old."""
OVER = 2
"""Seconds after which nothing more will be recorded for a second."""
AROUND = 10
"""Seconds by which an event's own time and the time of its recording may differ."""
PAGE = 500
_SCOPE = "datadog second"


@dataclass
class Free:
    answers: Answers = field(default_factory=Memory)
    host: "PluginHost | None" = None
    _used: set[int] = field(default_factory=set[int])
    """By events of their own second, or by late ones, as far as this process knows."""
    _now: int = 0
    _newest: int = 0
    """Of the seconds that may be free."""
    _read: int = 0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def second(self, now: int) -> int:
        """The newest of the last hour that is over, in which nothing was recorded, and which was not given to another."""
        async with self._lock:
            if now > self._now:  # once a second: a flood asks thousands of times in one
                self._used = {second for second in self._used if second > now - FRESH}
                self._now, self._newest = now, now - AROUND - OVER
            await self._read_events(now)
            for second in range(min(self._newest, now - AROUND - OVER), now - FRESH, -1):
                self._newest = second - 1
                if second not in self._used:
                    self._used.add(second)
                    if await self.answers.once(_SCOPE, str(second)):
                        return second
        raise RetryLater("all seconds of the last hour are taken by other events", after=60)

    async def _read_events(self, now: int) -> None:
        """The events since the last time."""
        since = (now - FRESH - AROUND) * 1000
        while self.host is not None and (page := await self.host.events(after=self._read, since=since, limit=PAGE)):
            self._used.update(int(stored.event.time.timestamp()) for stored in page)
            self._read = page[-1].seq
