"""Parts: what an open client consists of, and what the calls of `client.files` and `client.batches` ask of a client."""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .accounts import Accounts
from .config import Settings
from .errors import LedgerError, UsageError
from .plugins import Plugins
from .providers import Provider

if TYPE_CHECKING:
    from batchmeter import Spend

    from .ledger.ledger import Ledger
    from .pricing.book import PriceBook
    from .pricing.groups import PriceSource
    from .tracker.deliver import Deliverer
    from .tracker.guards import Guards
    from .tracker.lease import Sleep
    from .tracker.tracker import Tracker

log = logging.getLogger("batchmeter")

Prices: TypeAlias = "PriceSource | Mapping[str, Any] | str | os.PathLike[str]"
"""A price book, rows as in `[prices]`, or the path of a file with such rows."""


def asyncio_loop(home: asyncio.AbstractEventLoop | None = None) -> asyncio.AbstractEventLoop:
    """The running loop. UsageError where there is none (trio), and in another than `home`, a client's own."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "batchmeter's async calls need asyncio's event loop; under trio call the blocking function in a thread: "
            "await trio.to_thread.run_sync(batchmeter.retrieve_batch, batch_id)"
        ) from None
    if home is not None and home is not loop:
        raise UsageError(
            "this AsyncClient belongs to another event loop, and each asyncio.run() makes one: open a client in each "
            "(`async with AsyncClient() as client`), or use batchmeter's functions or Client, which work in all"
        )
    return loop


@dataclass
class Parts:
    """Parts of an open client."""

    plugins: Plugins
    ledger: "Ledger"
    tracker: "Tracker"
    deliverer: "Deliverer"
    prices: "PriceSource"
    spend: "Spend"
    guards: "Guards"
    sleep: "Sleep" = asyncio.sleep
    creates: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    """Creates under way by intent id, each set once it has ended."""
    lost: deque[str] = field(default_factory=lambda: deque(maxlen=1000))
    """Intent ids of the last creates whose answer was lost here: nobody is about to get it."""
    chores: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    """Work that calls left to be done after them; given up when the client closes."""

    @classmethod
    async def build(
        cls, settings: Settings, accounts: Accounts, plugins: Plugins, ledger: "Ledger | None", prices: "Prices | None"
    ) -> "Parts":
        from batchmeter import Spend  # noqa: PLC0415 - built on the ledger, which works without it

        from .ledger import open_ledger  # noqa: PLC0415 - `import batchmeter` stays light
        from .pricing.book import PriceBook  # noqa: PLC0415
        from .tracker.deliver import Deliverer  # noqa: PLC0415
        from .tracker.delivery_lane import LaneOptions  # noqa: PLC0415
        from .tracker.guards import Guards  # noqa: PLC0415
        from .tracker.schedule import TrackerOptions  # noqa: PLC0415
        from .tracker.tracker import Tracker, extensions  # noqa: PLC0415

        chosen: Prices = prices if prices is not None else settings.prices
        if isinstance(chosen, os.PathLike):
            chosen = os.fspath(chosen)
        source = await asyncio.to_thread(PriceBook.load, chosen) if isinstance(chosen, str | Mapping) else chosen
        if isinstance(source, PriceBook):
            await asyncio.to_thread(_tell_strangers, source, settings, plugins)
        if ledger is None:
            ledger = open_ledger(settings.ledger, engines=plugins.ledgers)
        await ledger.open(wait=settings.track)
        spend = Spend(ledger)
        if settings.reports.metadata_keys:
            await spend.label(settings.reports.metadata_keys)
        deliverer = Deliverer(ledger, plugins, options=LaneOptions(longest_pause=settings.longest_pause))
        options = TrackerOptions(adopt=tuple(accounts.adopting()), longest_pause=settings.longest_pause)
        guards = Guards(ledger, plugins, source)
        await asyncio.to_thread(extensions)  # reading entry points and importing takes a while
        tracker = Tracker(ledger, accounts, plugins, source, options=options, on_event=deliverer.notify)
        return cls(plugins, ledger, tracker, deliverer, source, spend, guards)

    def start(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(chore)
        self.chores.add(task)
        task.add_done_callback(self.chores.discard)

    async def listen(self) -> None:
        """Work that other processes put into the ledger wakes this one's loops at once, where the engine can tell."""
        wake = {"batches": self.tracker.notify, "deliveries": self.deliverer.notify}
        try:
            await self.ledger.listen(lambda topic: wake[topic]())
        except LedgerError as error:
            log.warning("ledger: not told of other processes' work, which is found by looking: %s", error)


def _tell_strangers(book: "PriceBook", settings: Settings, plugins: Plugins) -> None:
    """Rows for a provider that nobody has price nothing; accounts' names are easily taken for one."""
    for name, near in book.strangers(plugins.providers).items():
        provider = settings.accounts.get(name, {}).get("provider", next(iter(near), None))
        hint = f'; did you mean "{provider}/…"?' if provider else ""
        log.warning('prices: rows for "%s/…" price nothing: no provider has that name%s', name, hint)


class Runtime(Protocol):
    """A client, as far as its calls use it."""

    accounts: Accounts

    async def ready(self) -> Parts:
        """The open parts; opens on first use."""
        ...

    async def provider_for(
        self,
        account: str | None,
        overrides: Mapping[str, Any],
        *,
        about: str | None = None,
        model: str | None = None,
    ) -> tuple[Provider, str | None]: ...
