"""The window cover: one list of a hundred batches tells a hundred due ones at the price of one request.

What it relies on is checked at run time: lists are newest first, and `after` takes any batch id. An account where that
turns out otherwise is asked batch by batch for an hour.
"""

import logging
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from batchmeter.errors import APIStatusError
from batchmeter.ledger.port import Claim, Ledger
from batchmeter.models import Batch, Page
from batchmeter.providers import Provider

from .follow import Follower, blame
from .lane import Lane
from .schedule import CLOSING, Random

log = logging.getLogger("batchmeter")

WINDOW = 100
WORTH_DUE = 2
"""Due batches in a window for which one list is asked instead of each."""
WORTH_OPEN = 3
"""Or open ones, due or not: a list spares them their own looks, and from then on they are due together."""
DISTRUST_SECONDS = 3600.0
MOST_KNOWN = 200_000
_END = "￿"


@dataclass
class Order:
    """The batches of one account that were seen, in creation order."""

    ids: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    created: dict[str, int] = field(default_factory=dict[str, int])
    open: set[str] = field(default_factory=set[str])
    """Those that were, when last seen."""

    def add(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            (self.open.discard if batch.ended else self.open.add)(batch.id)
            if batch.created_at is not None and batch.id not in self.created:
                self.created[batch.id] = batch.created_at
                insort(self.ids, (batch.created_at, batch.id))
        if len(self.ids) > MOST_KNOWN:
            for _, batch_id in self.ids[: -MOST_KNOWN // 2]:
                del self.created[batch_id]
                self.open.discard(batch_id)
            del self.ids[: -MOST_KNOWN // 2]

    def forget(self, batch_id: str) -> None:
        at = self.created.pop(batch_id, None)
        self.open.discard(batch_id)
        if at is not None:
            del self.ids[bisect_left(self.ids, (at, batch_id))]

    def window(self, batch_id: str) -> tuple[str | None, list[str]] | None:
        """A cursor whose page should hold this batch, and the known ids of that page; None for an undated batch.

        The cursor is the next batch made in a later second: how a provider orders one second's batches is unknown.
        """
        at = self.created.get(batch_id)
        if at is None:
            return None
        newer = bisect_left(self.ids, (at, _END))
        cursor = self.ids[newer][1] if newer < len(self.ids) else None
        return cursor, [name for _, name in self.ids[max(newer - WINDOW, 0) : newer]]


@dataclass
class Sweep:
    """Covers due batches with lists, per account."""

    ledger: Ledger
    follower: Follower
    enabled: bool = True
    _orders: dict[str, Order] = field(default_factory=dict[str, Order])
    _distrusted: dict[str, float] = field(default_factory=dict[str, float])
    _done: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Ended batches in lists that are settled, or nobody's: not worth another question to the ledger."""

    async def cover(self, lane: Lane, provider: Provider, claims: Sequence[Claim], random: Random) -> dict[str, Batch]:
        """Due batch -> what a list showed. Those missing are to be asked for one by one.

        What else it showed is passed on: endings, and open batches that need no look of their own soon.
        """
        if not self._possible(lane, provider):
            return {}
        order = self._orders.setdefault(lane.account, Order())
        order.add(claim.tracked.batch for claim in claims)
        due = {claim.tracked.batch_id for claim in claims}
        closing = {claim.tracked.batch_id for claim in claims if claim.tracked.batch.status in CLOSING}
        seen: dict[str, Batch] = {}
        missed: set[str] = set()
        for batch_id in sorted(due, key=lambda name: order.created.get(name, 0), reverse=True):
            window = None if batch_id in seen or batch_id in missed else order.window(batch_id)
            if window is None:
                continue
            told = due.intersection(window[1]).difference(seen, missed)
            spared = order.open.intersection(window[1]) if batch_id not in closing else ()
            if len(told) < WORTH_DUE and len(spared) < WORTH_OPEN:
                continue
            page = await self._list(lane, provider, order, window[0])
            if page is None:
                break
            seen.update({batch.id: batch for batch in page.data if batch.id in due})
            missed.add(batch_id)
            others = [batch for batch in page.data if batch.id not in due]
            await self._pass_on(lane.account, others)
            await self._put_off(lane.account, [batch for batch in others if not batch.ended], random)
        return seen

    def _possible(self, lane: Lane, provider: Provider) -> bool:
        if not self.enabled or not provider.capabilities.list_after_any_id:
            return False
        return self.follower.ledger.now() / 1000 >= self._distrusted.get(lane.account, 0.0)

    async def _list(self, lane: Lane, provider: Provider, order: Order, cursor: str | None) -> Page[Batch] | None:
        """None: the rest is asked one by one (and waits there, if the whole account is in trouble)."""
        await lane.budget.take()
        now = self.follower.ledger.now() / 1000
        try:
            page = await self.follower.look_at_many(provider, cursor)
        except APIStatusError as error:
            lane.failed(error, now)
            if blame(error) == "batch" and cursor is not None:
                order.forget(cursor)
            return None
        except Exception as error:  # noqa: BLE001 - a list that fails costs only the saving
            lane.failed(error, now)
            return None
        lane.worked()
        if not _in_order(page, cursor, order):
            log.warning(
                "account %s: its lists are not newest first after a cursor; asking for each batch", lane.account
            )
            self._distrusted[lane.account] = now + DISTRUST_SECONDS
            return None
        order.add(page.data)
        return page

    async def _put_off(self, account: str, batches: Sequence[Batch], random: Random) -> None:
        """They fall into step with the list's due ones."""
        if batches:
            looks = [(batch.id, self.follower.look_together(account, batch, random)) for batch in batches]
            await self.ledger.put_off(account, looks)

    async def _pass_on(self, account: str, batches: Sequence[Batch]) -> None:
        """Endings of tracked batches that were not due yet."""
        for batch in batches:
            if not batch.ended or (account, batch.id) in self._done:
                continue
            tracked = await self.ledger.observe(account, batch)
            if tracked is None or tracked.settled_at is not None:
                if len(self._done) >= MOST_KNOWN:
                    self._done.clear()
                self._done.add((account, batch.id))


def _in_order(page: Page[Batch], cursor: str | None, order: Order) -> bool:
    times = [batch.created_at for batch in page.data if batch.created_at is not None]
    falling = all(first >= second for first, second in pairwise(times))
    if cursor is None or not times:
        return falling
    return falling and times[0] <= order.created[cursor] and all(batch.id != cursor for batch in page.data)
