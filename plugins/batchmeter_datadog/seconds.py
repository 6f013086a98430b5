"""The second that a count belongs to, and that second's value.

Datadog keeps one value for each metric, tags and second: the last one sent. Two batches that end in one second would be
one. So what is sent is a whole second, once it is over: the sums over all events that the ledger recorded in it, the same
from any process and however often. A second that comes too late is sent as one in which nothing happened. Which one that
is, and how many events have arrived with it, the ledger remembers for all.
"""

import asyncio
import itertools
import time
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING

from batchmeter.errors import RetryLater
from batchmeter.events import Event

from .answers import Answers, Memory
from .free import AROUND, FRESH, OVER, PAGE, Free
from .points import Counts, counts
from .tags import Tags

if TYPE_CHECKING:
    from batchmeter.host import PluginHost

Post = Callable[[int, Counts], Awaitable[None]]
_USABLE = 3500
"""Seconds: Datadog takes points up to an hour old."""
_SCOPE = "datadog counts"
_LEASE = 60.0
_KEPT = 300
_BEGINNINGS = 1000


@dataclass
class _Second:
    """Its events, what they add up to, and with how many of them it was accepted."""

    start: int
    events: set[str] = field(default_factory=set[str])
    counts: Counts = field(default_factory=dict[tuple[str, tuple[str, ...]], Decimal])
    accepted: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, event_id: str, own: Counts) -> None:
        self.events.add(event_id)
        for key, amount in own.items():
            self.counts[key] = self.counts.get(key, Decimal(0)) + amount


@dataclass
class Seconds:
    """`clock` is epoch seconds."""

    tags: Tags
    historical: bool = False
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    host: "PluginHost | None" = None
    """Without it (the class used by hand) each event gets a second of its own."""
    _answers: Answers = field(default_factory=Memory)
    _free: Free = field(default_factory=Free)
    _known: "OrderedDict[int, _Second]" = field(default_factory=OrderedDict[int, _Second])
    _beginnings: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(time, seq): nothing up to there was recorded at that time or later. The ledger would look through all its events."""

    def remember_in(self, host: "PluginHost") -> None:
        self.host = self._answers = host
        self._free = Free(host, host)

    async def send(self, event: Event, post: Post) -> None:
        """Returns when what the event adds is at Datadog, with its second's other events."""
        own = counts(event, self.tags)
        if not own:
            return
        if self.host is None:
            await self._late(event.id, 1, lambda at: post(at, own))
            return
        second = self._second(int(event.time.timestamp()))
        async with second.lock:
            if event.id not in second.events:
                await self.sleep(max(0.0, second.start + 1 + OVER - self.clock()))
                await self._read(self.host, second)
            if event.id not in second.events:
                second.add(event.id, own)
            if second.accepted < len(second.events):
                await self._send(second, post)
                second.accepted = len(second.events)

    def _second(self, start: int) -> _Second:
        if start not in self._known:
            self._known[start] = _Second(start)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[start]

    async def _read(self, host: "PluginHost", second: _Second) -> None:
        """Its events as loggers may see them."""
        second.events, second.counts = set(), {}
        since = (second.start - AROUND) * 1000
        begun = bisect_right(self._beginnings, since, key=itemgetter(0))
        after = first = self._beginnings[begun - 1][1] if begun else 0
        while page := await host.events(after=after, since=since, limit=PAGE):
            if after == first:
                self._begins(since, page[0].seq - 1)
            for stored in page:
                if int(stored.event.time.timestamp()) == second.start:
                    event = await host.redact(stored.event)
                    own = counts(event, self.tags)
                    if own:
                        second.add(stored.event.id, own)
            after = page[-1].seq
            if page[-1].event.time.timestamp() > second.start + AROUND:
                break

    def _begins(self, since: int, seq: int) -> None:
        if (since, seq) not in self._beginnings:
            insort(self._beginnings, (since, seq))
            del self._beginnings[:-_BEGINNINGS]

    async def _send(self, second: _Second, post: Post) -> None:
        number = len(second.events)
        if self.historical:
            await post(second.start, second.counts)
        elif self.clock() - second.start > FRESH:
            await self._late(str(second.start), number, lambda at: post(at, second.counts))
        elif await self._accepted(second.start) < number:
            await post(second.start, second.counts)
            await self._answers.keep(_SCOPE, f"{second.start} 0", f"{second.start} {number}")

    async def _accepted(self, start: int) -> int:
        """From other processes. While one of them is sending it, this one may as well."""
        reserved = await self._answers.reserve(_SCOPE, f"{start} 0", lease_seconds=_LEASE)
        return int(reserved.document.split()[1]) if reserved.document else 0

    async def _late(self, what: str, number: int, post: Callable[[int], Awaitable[None]]) -> None:
        """As the second that was found for it; as another, when that is too old by now and was never accepted."""
        for turn in itertools.count():
            name = f"{what} {turn}"
            reserved = await self._answers.reserve(_SCOPE, name, lease_seconds=_LEASE)
            if reserved.state == "busy":
                raise RetryLater("another process is finding a second for it", after=5)
            document = reserved.document or await self._find(name)
            second, accepted = map(int, document.split())
            usable = self.clock() - second <= _USABLE
            if usable and accepted < number:
                await post(second)
                await self._answers.keep(_SCOPE, name, f"{second} {number}")
            if usable or accepted:
                return

    async def _find(self, name: str) -> str:
        try:
            second = await self._free.second(int(self.clock()))
        except RetryLater:
            await self._answers.drop(_SCOPE, name)
            raise
        document = f"{second} 0"
        await self._answers.keep(_SCOPE, name, document)
        return document
