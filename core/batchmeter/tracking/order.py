"""The order in which an account's batches were made, and the lists that would show the due ones of them."""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from batchmeter.models import Batch

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
    """What is known to be in it."""


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

    def window(self, batch_id: str) -> Window | None:
        """The list that should show this batch first; None for an undated one."""
        at = self.created.get(batch_id)
        if at is None:
            return None
        newer = bisect_left(self.ids, (at, _END))
        not_after, cursor = self.ids[newer] if newer < len(self.ids) else (None, None)
        return Window(batch_id, cursor, not_after, tuple(name for _, name in self.ids[max(newer - WINDOW, 0) : newer]))

    def plan(self, due: Collection[str], closing: Collection[str], asked: Collection[str | None]) -> list[Window]:
        """Lists that share no known batch and together show every due one that is worth a list, newest first.

        A `closing` batch alone is none; `asked` are cursors that were used: they would show the same again.
        """
        left, windows = set(due), list[Window]()
        for batch_id in sorted(due, key=lambda name: self.created.get(name, 0), reverse=True):
            window = self.window(batch_id) if batch_id in left else None
            if window is None or window.cursor in asked or (windows and window.cursor == windows[-1].cursor):
                continue
            told = left.intersection(window.ids)
            spared = 0 if batch_id in closing else len(self.open.intersection(window.ids))
            if len(told) >= WORTH_DUE or spared >= WORTH_OPEN:
                left -= told
                windows.append(window)
        return windows
