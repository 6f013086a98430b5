"""Reconciliations: the ledger beside the vendor's own usage report or bill, by day, model and kind of token.

It stands on public hooks: `host.settlements` is our side, the vendors' admin APIs or a bill file the other; documents are
kept in a table of its own (`host.store`) and change nothing in the ledger; `reconcile_drift` is its kind of event. Other
plugins add vendors by its hook `register_billing`. It is off until `[plugins.reconcile]` or BATCHMETER_RECONCILE=on is
there, but for its commands. Names are imported when they are first used: every command line loads
this module.
"""

from typing import TYPE_CHECKING

from batchmeter import hookimpl
from batchmeter.lazy import lazy_names

from . import hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from batchmeter.events import PluginEvent

    from .events import ReconcileDrift
    from .figures import BilledRow, Figures
    from .plugin import Reconcile
    from .settings import BillSettings, ReconcileSettings
    from .sources import BillingSource, Question

__all__ = [
    "BillSettings",
    "BilledRow",
    "BillingSource",
    "Figures",
    "Question",
    "Reconcile",
    "ReconcileDrift",
    "ReconcileSettings",
    "hookspecs",
]

env = ("BATCHMETER_RECONCILE",)
"""Variables that switch its routes, pages and metrics on where no bill is configured; the commands need none."""
RECONCILE = "Compare the ledger with the vendor's own usage and costs, or with a bill."


@hookimpl
def register_commands(cli: "click.Group") -> None:
    from batchmeter.commands import LazyCommand  # noqa: PLC0415 - only where commands are wanted

    cli.add_command(LazyCommand("reconcile", "batchmeter_reconcile.commands:reconcile", RECONCILE))


@hookimpl
def register_events(register: "Callable[[type[PluginEvent]], None]") -> None:
    from .events import ReconcileDrift  # noqa: PLC0415 - only where events are read

    register(ReconcileDrift)


__getattr__ = lazy_names(
    __name__,
    {
        "settings": "BillSettings ReconcileSettings",
        "figures": "BilledRow Figures",
        "sources": "BillingSource Question",
        "plugin": "Reconcile",
        "events": "ReconcileDrift",
    },
)
