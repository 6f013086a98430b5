"""The plugin of one client: reconciliations for its commands, routes and pages, and each day's by itself."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from batchmeter import hookimpl
from batchmeter.errors import LedgerError

from . import hookspecs
from .settings import ReconcileSettings

if TYPE_CHECKING:
    from batchmeter.host import PluginHost
    from batchmeter_proxy import Route
    from batchmeter_proxy.gauges import Gather
    from batchmeter_ui import Page

    from .reconciler import Reconciler


class Reconcile:
    """See the package."""

    Settings = ReconcileSettings
    hookspecs = hookspecs

    def __init__(self, settings: ReconcileSettings | None = None) -> None:
        self.settings = settings or ReconcileSettings()
        self._host: PluginHost | None = None
        self._reconciler: Reconciler | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def reconciler(self) -> "Reconciler":
        """Made when it is first needed: most commands compare nothing."""
        from .reconciler import Reconciler  # noqa: PLC0415

        if self._host is None:
            raise LedgerError("reconciliations have not started: the log says why")
        if self._reconciler is None:
            self._reconciler = Reconciler(self._host, self.settings)
        return self._reconciler

    @hookimpl
    async def startup(self, host: "PluginHost") -> None:
        self._host = host
        if self.settings.daily and self.settings.bills:
            from .daily import Daily  # noqa: PLC0415 - only where bills are configured

            self._looking = asyncio.create_task(Daily(self.reconciler).forever(), name="batchmeter-reconcile")

    @hookimpl
    def open_reconcile(self) -> "Reconciler":
        return self.reconciler

    @hookimpl(optionalhook=True)
    def register_routes(self, register: "Callable[[Route], None]") -> None:
        from .routes import routes  # noqa: PLC0415 - with the server's libraries

        for route in routes(lambda: self.reconciler):
            register(route)

    @hookimpl(optionalhook=True)
    def register_metrics(self, register: "Callable[[Gather], None]") -> None:
        from .metrics import gauges  # noqa: PLC0415 - with the server's libraries

        register(lambda: gauges(lambda: self.reconciler))

    @hookimpl(optionalhook=True)
    def register_pages(self, register: "Callable[[Page], None]") -> None:
        from .page import pages  # noqa: PLC0415 - with the pages' libraries

        for page in pages(lambda: self.reconciler):
            register(page)

    @hookimpl
    async def shutdown(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
