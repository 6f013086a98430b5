"""Totals: sums over all batches ever settled, pruned ones included, for plugins that show metrics.

They are cumulative and computed from the ledger, so every process gets the same ones, however often it asks.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from batchmeter.events import Settlement
from batchmeter.host import Total
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.settlements import cursor_of

from .prune import Key, by_key, pruned_totals, with_more

PAGE_ROWS = 200
YOUNG = timedelta(minutes=1)
"""A settlement younger than this is added anew each time: an older one may still be on its way into the ledger."""


class Totals:
    """Keeps what is settled for good, so that each asking reads only what is new.

    Corrections (later revisions) of what was read count from the next start on.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._reading = asyncio.Lock()
        self._base: dict[Key, Total] = {}
        self._pruned = 0
        """How many batches in `_base` were no longer in the ledger when it was begun."""
        self._after: str | None = None

    async def read(self) -> list[Total] | None:
        """None while batches are being pruned, some of which might be missed: ask again."""
        async with self._reading:
            return await self._read()

    async def _read(self) -> list[Total] | None:
        past = await self._ledger.database.read(pruned_totals)
        pruned = sum(one.batches for one in past)
        if pruned != self._pruned:
            self._base = {(one.provider, one.account, one.status): one for one in past}
            self._pruned, self._after = pruned, None
        totals = await self._add_up(datetime.fromtimestamp(self._ledger.now() / 1000, UTC) - YOUNG)
        meanwhile = sum(one.batches for one in await self._ledger.database.read(pruned_totals))
        return list(totals.values()) if meanwhile == pruned else None

    async def _add_up(self, settled_before: datetime) -> dict[Key, Total]:
        """In the order of settling: from the first young one on, nothing is kept."""
        young: dict[Key, Total] | None = None
        after = self._after
        while page := [one for one, _ in await self._ledger.settlements(after=after, limit=PAGE_ROWS)]:
            old = 0
            while young is None and old < len(page) and page[old].settled_at < settled_before:
                old += 1
            if old:
                _add(self._base, page[:old])
                self._after = cursor_of(page[old - 1])
            if old < len(page):
                young = dict(self._base) if young is None else young
                _add(young, page[old:])
            after = cursor_of(page[-1])
        return self._base if young is None else young


def _add(totals: dict[Key, Total], settlements: Iterable[Settlement]) -> None:
    totals.update({key: with_more(totals.get(key, Total(*key)), alike) for key, alike in by_key(settlements).items()})
