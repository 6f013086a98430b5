"""Parts: the ledger, tracker, deliverer, prices and guards that an open client consists of."""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from .accounts import Accounts
from .config import Settings
from .discovery import entries
from .errors import ConfigError, LedgerError
from .host import CostQuery, CostRow, Total
from .plugins import Plugins
from .pricing.groups import PriceSource

if TYPE_CHECKING:
    from .ledger.ledger import Ledger
    from .tracker.deliver import Deliverer
    from .tracker.guards import Guards
    from .tracker.lease import Sleep
    from .tracker.tracker import Tracker

log = logging.getLogger("batchmeter")

Result = TypeVar("Result")
BOOK = "batchmeter.prices"
"""Entry point of the function that opens the price book."""
SUMS = "batchmeter.sums"
"""Entry point of the function that gives a ledger's sums."""
RECORDING = "batchmeter recording"
"""Name of chores that may end by themselves while the client closes: a batch exists, and is being recorded."""

Prices: TypeAlias = "PriceSource | Mapping[str, Any] | str | os.PathLike[str]"
"""A price book, rows as in `[prices]`, or the path of a file with such rows."""


class Sums(Protocol):
    """Sums of what settled batches cost, by the leaf that keeps them."""

    async def label(self, keys: Collection[str], /) -> None:
        """Sum by these keys of the batches' metadata too, from now on."""
        ...

    async def totals(self) -> list[Total] | None: ...

    async def rows(self, *queries: CostQuery) -> list[list[CostRow]]: ...


@runtime_checkable
class Catalogued(Protocol):
    """A price source over a catalogue of vendors' prices."""

    def as_of(self) -> date:
        """The UTC date of its prices."""
        ...

    def base_model(self, provider: str, model: str) -> str: ...

    def strangers(self, providers: Collection[str], /) -> dict[str, list[str]]:
        """Providers in the user's rows that are neither among these nor in the catalogue -> what they may have meant."""
        ...


class Book(Catalogued, PriceSource, Protocol):
    """A price book: a catalogue, and the user's own rows over it."""


def price_book(rows: Mapping[str, Any] | str | None = None) -> Book:
    """The installed price book with these rows, or those of a file. ConfigError for rows that cannot be read, or no book."""
    for entry in entries(BOOK):
        load: Callable[[Mapping[str, Any] | str | None], Book] = entry.load()
        return load(rows)
    raise ConfigError("nothing here has prices: install batchmeter again")


def sums_of(ledger: "Ledger") -> Sums:
    """The sums of a ledger. ConfigError where no installed package has any."""
    for entry in entries(SUMS):
        made: Callable[[Ledger], Sums] = entry.load()
        return made(ledger)
    raise ConfigError("nothing here sums what batches cost: install batchmeter again")


@dataclass
class Parts:
    """Parts of an open client."""

    plugins: Plugins
    ledger: "Ledger"
    tracker: "Tracker"
    deliverer: "Deliverer"
    prices: "PriceSource"
    sums: Sums
    guards: "Guards"
    sleep: "Sleep" = asyncio.sleep
    creates: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    """Creates under way by intent id, each set once it has ended."""
    lost: deque[str] = field(default_factory=lambda: deque(maxlen=1000))
    """Intent ids of the last creates whose answer was lost here: nobody is about to get it."""
    chores: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])
    """Work that calls left to be done after them; given up when the client closes."""

    @classmethod
    async def build(
        cls, settings: Settings, accounts: Accounts, plugins: Plugins, ledger: "Ledger | None", prices: "Prices | None"
    ) -> "Parts":
        from .ledger import open_ledger  # noqa: PLC0415 - `import batchmeter` stays light
        from .tracker.deliver import Deliverer  # noqa: PLC0415
        from .tracker.delivery_lane import LaneOptions  # noqa: PLC0415
        from .tracker.guards import Guards  # noqa: PLC0415
        from .tracker.schedule import TrackerOptions  # noqa: PLC0415
        from .tracker.tracker import Tracker, extensions  # noqa: PLC0415

        chosen: Prices = settings.prices if prices is None else prices
        ledger = ledger or open_ledger(settings.ledger, engines=plugins.ledgers)

        def read() -> tuple[PriceSource, Sums]:  # entry points, imports and a catalogue: that takes a while
            extensions()
            return _source(chosen, settings, plugins), sums_of(ledger)

        source, sums = await asyncio.to_thread(read)
        await ledger.open(wait=settings.track)
        if settings.reports.metadata_keys:
            try:
                await sums.label(settings.reports.metadata_keys)
            except BaseException:
                await ledger.aclose()
                raise
        deliverer = Deliverer(ledger, plugins, options=LaneOptions(longest_pause=settings.longest_pause))
        options = TrackerOptions(adopt=tuple(accounts.adopting()), longest_pause=settings.longest_pause)
        guards = Guards(ledger, plugins, source)
        tracker = Tracker(ledger, accounts, plugins, source, options=options, on_event=deliverer.notify)
        return cls(plugins, ledger, tracker, deliverer, source, sums, guards)

    def start(self, chore: Coroutine[Any, Any, Result], name: str | None = None) -> asyncio.Task[Result]:
        task = asyncio.create_task(chore, name=name)
        self.chores.add(task)
        task.add_done_callback(self.chores.discard)
        return task

    async def finish(self, chore: Coroutine[Any, Any, Result]) -> Result:
        """A caller who is cancelled meanwhile does not end the chore; a client that closes waits for it."""
        return await asyncio.shield(self.start(chore, RECORDING))

    async def listen(self) -> None:
        """Work that other processes put into the ledger wakes this one's loops at once, where the engine can tell."""
        wake = {"batches": self.tracker.notify, "deliveries": self.deliverer.notify}
        try:
            await self.ledger.listen(lambda topic: wake[topic]())
        except LedgerError as error:
            log.warning("ledger: not told of other processes' work, which is found by looking: %s", error)


def _source(chosen: Prices, settings: Settings, plugins: Plugins) -> PriceSource:
    """The prices. Rows for a provider that nobody has price nothing; accounts' names are easily taken for one."""
    rows = os.fspath(chosen) if isinstance(chosen, os.PathLike) else chosen
    book = price_book(rows) if isinstance(rows, str | Mapping) else rows
    if not callable(getattr(book, "rates", None)):  # asking for its other members may open a catalogue
        raise ConfigError(f"prices: expected rows, a file's path or a PriceSource, but got {type(book).__name__}")
    for name, near in book.strangers(plugins.providers).items() if isinstance(book, Catalogued) else ():
        provider = settings.accounts.get(name, {}).get("provider", next(iter(near), None))
        hint = f'; did you mean "{provider}/…"?' if provider else ""
        log.warning('prices: rows for "%s/…" price nothing: no provider has that name%s', name, hint)
    return book
