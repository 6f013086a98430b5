"""The plugin of one client: asked before a batch is submitted, told when it ends, and looking after what nobody tells."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from batchmeter import hookimpl
from batchmeter.errors import BatchmeterError

from . import hookspecs
from .alerting import Alerts
from .book import Book
from .opened import OpenBudgets
from .reserve import Reserver
from .settings import BudgetsSettings
from .settle import Settler
from .upkeep import Upkeep
from .watching import Watch

if TYPE_CHECKING:
    from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
    from batchmeter.host import Estimate, PlannedBatch, PluginHost
    from batchmeter_proxy import Route
    from batchmeter_proxy.gauges import Gather
    from batchmeter_ui import Page

log = logging.getLogger("batchmeter.budgets")

_FIRST = 3.0
"""Seconds until the first look: a command that is soon over looks after nothing."""


class Budgets(OpenBudgets):
    """See the package."""

    Settings = BudgetsSettings
    hookspecs = hookspecs

    def __init__(self, settings: BudgetsSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or BudgetsSettings()
        self._looking: asyncio.Task[None] | None = None

    @hookimpl
    async def startup(self, host: "PluginHost") -> None:
        book = await Book.open(host)
        alerts = Alerts(book)
        reserver = Reserver(book, alerts)
        settler = Settler(book, alerts, self.settings.alerts.unknown_cost)
        watch = Watch(book, alerts, self.settings.alerts)
        self._parts = book, alerts, reserver, settler, Upkeep(book, alerts, reserver, settler, watch), watch
        await book.sync(self.settings.budgets)
        self._looking = asyncio.create_task(self._look(), name="batchmeter-budgets")

    @hookimpl
    async def before_submit(self, submission: "PlannedBatch", estimate: "Estimate | None") -> None:
        await self.reserver.reserve(submission, estimate)

    @hookimpl
    async def submit_dropped(self, submission: "PlannedBatch", reason: str) -> None:
        await self.reserver.release(submission.id, reason)

    @hookimpl
    async def acreate_batch(self, event: "BatchCreated") -> None:
        await self.settler.created(event)
        await self.watch.created(event)

    @hookimpl
    async def batch_success(self, event: "BatchSucceeded") -> None:
        await self._ended(event)

    @hookimpl
    async def batch_failure(self, event: "BatchFailed") -> None:
        await self._ended(event)

    @hookimpl
    def open_budgets(self) -> "Budgets":
        return self

    @hookimpl(optionalhook=True)
    def register_routes(self, register: "Callable[[Route], None]") -> None:
        from .routes import routes  # noqa: PLC0415 - with the server's libraries

        for route in routes(self):
            register(route)

    @hookimpl(optionalhook=True)
    def register_metrics(self, register: "Callable[[Gather], None]") -> None:
        from .metrics import gauges  # noqa: PLC0415 - only where somebody asks

        register(lambda: gauges(self.book))

    @hookimpl(optionalhook=True)
    def register_pages(self, register: "Callable[[Page], None]") -> None:
        from .page import pages  # noqa: PLC0415 - with the pages' libraries

        for page in pages(self):
            register(page)

    @hookimpl
    async def shutdown(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    async def _ended(self, event: "BatchSucceeded | BatchFailed") -> None:
        await self.settler.ended(event)
        await self.watch.ended(event)

    async def _look(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(min(_FIRST, self.settings.every))
        while True:
            try:
                await self.upkeep.look()
            except BatchmeterError as error:
                log.warning("budgets: what a crash may have left is looked for later: %s", error)
            except Exception:
                log.exception("budgets: a look failed; the next one is in %g s", self.settings.every)
            await asyncio.sleep(self.settings.every)
