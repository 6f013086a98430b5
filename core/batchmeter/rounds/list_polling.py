"""List polling: one request for a list replaces a hundred requests for one batch each.

Two things are checked at run time: lists are newest first, and `after` takes any batch id. An account where that turns
out otherwise is asked batch by batch for an hour.
"""

import asyncio
import logging
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from batchmeter.errors import APIStatusError
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Claim, Millis
from batchmeter.models import Batch, Page
from batchmeter.providers import CallOptions, Provider
from batchmeter.tracker.account_state import AccountState, answer_in_time, blame
from batchmeter.tracker.schedule import CLOSING, LOOK_SECONDS, Random, Timetable

log = logging.getLogger("batchmeter")

DISTRUST_SECONDS = 3600.0
WINDOW = 100
WORTH_DUE = 2
"""Due batches in a window for which one list is asked instead of each."""
WORTH_OPEN = 3
"""Or open ones, due or not: a list spares them their own looks, and from then on they are due together."""
MOST_KNOWN = 200_000
_END = "\uffff"


@dataclass(frozen=True, slots=True)
class Window:
    """One list to ask for."""

    head: str
    """The newest due batch that it should show."""
    cursor: str | None
    """The next batch made in a later second: how a provider orders one second's batches is unknown."""
    not_after: int | None
    """When the cursor was made; nothing in the list is newer."""
    ids: tuple[str, ...]
    """Ids that are known to be in it."""


@dataclass
class Order:
    """The batches of one account that were seen, in creation order."""

    ids: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    created: dict[str, int] = field(default_factory=dict[str, int])
    open: set[str] = field(default_factory=set[str])
    """Ids of batches that were open when last seen."""

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

    def window(self, batch_id: str) -> Window | None:
        """The list that should show this batch first; None for an undated one."""
        at = self.created.get(batch_id)
        if at is None:
            return None
        newer = bisect_left(self.ids, (at, _END))
        not_after, cursor = self.ids[newer] if newer < len(self.ids) else (None, None)
        return Window(batch_id, cursor, not_after, tuple(name for _, name in self.ids[max(newer - WINDOW, 0) : newer]))

    def plan(self, due: Collection[str], closing: Collection[str], cursors: Collection[str | None]) -> list[Window]:
        """Lists that share no known batch and together show every due one that is worth a list, newest first.

        A `closing` batch alone is none; `cursors` were used: they would show the same again.
        """
        left, windows = set(due), list[Window]()
        for batch_id in sorted(due, key=lambda name: self.created.get(name, 0), reverse=True):
            window = self.window(batch_id) if batch_id in left else None
            if window is None or window.cursor in cursors or (windows and window.cursor == windows[-1].cursor):
                continue
            group = left.intersection(window.ids)
            spared = 0 if batch_id in closing else len(self.open.intersection(window.ids))
            if len(group) >= WORTH_DUE or spared >= WORTH_OPEN:
                left -= group
                windows.append(window)
        return windows


@dataclass
class ListPolling:
    """Covers due batches with lists, per account."""

    ledger: Ledger
    timetable: Timetable
    _orders: dict[str, Order] = field(default_factory=dict[str, Order])
    _distrusted: dict[str, float] = field(default_factory=dict[str, float])
    _done: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Ended batches in lists that are settled, or nobody's: not worth another question to the ledger."""

    async def cover(
        self, state: AccountState, provider: Provider, claims: Sequence[Claim], random: Random
    ) -> dict[str, Batch]:
        """Due batch -> what a list showed. Those missing are to be asked for one by one.

        What else it showed is passed on: endings, and open batches that need no look of their own soon.
        """
        if not provider.capabilities.list_after_any_id or self._is_distrusted(state):
            return {}
        order = self._orders.setdefault(state.account, Order())
        order.add(claim.tracked.batch for claim in claims)
        due = {claim.tracked.batch_id for claim in claims}
        closing = {claim.tracked.batch_id for claim in claims if claim.tracked.batch.status in CLOSING}
        answers: dict[str, Batch] = {}
        cursors: set[str | None] = set()
        while windows := order.plan(due.difference(answers), closing, cursors):
            if state.breaker.probing:
                del windows[1:]  # while the account is in doubt, the first goes alone
            cursors.update(window.cursor for window in windows)
            began = self.ledger.now()
            pages = await asyncio.gather(*(self._list(state, provider, order, window) for window in windows))
            shown = _newest(batch for page in pages if page is not None for batch in page.data)
            answers.update({name: batch for name, batch in shown.items() if name in due})
            others = [batch for name, batch in shown.items() if name not in due]
            await self._pass_on(state.account, [batch for batch in others if batch.ended])
            await self._put_off(state.account, [batch for batch in others if not batch.ended], random, began)
            if None in pages:
                break
        return answers

    def _is_distrusted(self, state: AccountState) -> bool:
        left = self._distrusted.get(state.account, 0.0) - self._now()
        return 0 < left <= DISTRUST_SECONDS  # more: the clock was set back

    def _now(self) -> float:
        return self.ledger.now() / 1000

    async def _list(self, state: AccountState, provider: Provider, order: Order, window: Window) -> Page[Batch] | None:
        """One of several at a time. None: the rest is asked one by one (and waits there, if the account is in trouble)."""
        async with state.looking:
            if await state.pause_or_budget() or self._is_distrusted(state):
                return None  # one of those that went first was refused, or came in no order
            try:
                options = CallOptions(timeout=LOOK_SECONDS)
                call = provider.list_batches(after=window.cursor, limit=WINDOW, options=options)
                page = await answer_in_time(provider, call)
            except Exception as error:  # noqa: BLE001 - a list that fails costs only the saving
                state.failed(error, self._now())
                if isinstance(error, APIStatusError) and blame(error) == "batch" and window.cursor is not None:
                    order.forget(window.cursor)
                return None
        state.worked(self._now())
        if not _in_order(page, window):
            self._distrust(state)
            return None
        order.add(page.data)
        return page

    def _distrust(self, state: AccountState) -> None:
        if not self._is_distrusted(state):
            log.warning(
                "account %s: its lists are not newest first after a cursor; asking for each batch", state.account
            )
        self._distrusted[state.account] = self._now() + DISTRUST_SECONDS

    async def _put_off(self, account: str, batches: Sequence[Batch], random: Random, began: Millis) -> None:
        """The batches fall into step with the lists' due ones; a backlog's own, claimed or not, is listed once."""
        if batches:
            looks = [(batch.id, self.timetable.listed(account, batch, random)) for batch in batches]
            await self.ledger.put_off(account, looks, began=began)

    async def _pass_on(self, account: str, ended: Sequence[Batch]) -> None:
        """Endings of tracked batches that were not due yet."""
        news = [batch for batch in ended if (account, batch.id) not in self._done]
        if not news:
            return
        unsettled = await self.ledger.observe_endings(account, news)
        if len(self._done) + len(news) > MOST_KNOWN:
            self._done.clear()
        for batch in news:
            if batch.id in unsettled:
                self.timetable.found(account, batch)
            else:
                self._done.add((account, batch.id))


def _newest(batches: Iterable[Batch]) -> dict[str, Batch]:
    """By id; where lists that were asked for at the same time disagree, the end stands."""
    found: dict[str, Batch] = {}
    for batch in batches:
        if batch.id not in found or batch.ended:
            found[batch.id] = batch
    return found


def _in_order(page: Page[Batch], window: Window) -> bool:
    times = [batch.created_at for batch in page.data if batch.created_at is not None]
    falling = all(first >= second for first, second in pairwise(times))
    if window.not_after is None or not times:
        return falling
    return falling and times[0] <= window.not_after and all(batch.id != window.cursor for batch in page.data)
