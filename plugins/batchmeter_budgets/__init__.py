"""Budgets: money reserved when a batch is submitted, settled exactly when it ends, told once where a limit comes near.

Off until `[plugins.budgets]` or BATCHMETER_BUDGETS=on is there. It stands on public hooks: `before_submit` and
`submit_dropped` reserve and release, the three events settle, its tables are in the ledger's database (`host.store`), and
its own kinds of events, `budget_alert` and `alert`, go to every logger that handles them. Names are imported when they
are first used: every command line loads this module.
"""

from typing import TYPE_CHECKING

from batchmeter import hookimpl
from batchmeter.lazy import lazy_names

from . import hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from batchmeter.events import PluginEvent

    from .events import Alert, BudgetAlert
    from .plugin import Budgets
    from .settings import BudgetSettings, BudgetsSettings

__all__ = ["Alert", "BudgetAlert", "BudgetSettings", "Budgets", "BudgetsSettings", "hookspecs"]

env = ("BATCHMETER_BUDGETS",)
"""Variables that switch it on, for budgets that are made by API or command."""
BUDGETS = "Budgets: what may be spent, what is spent, reserved and uncertain; set, raise, write off, check."


@hookimpl
def register_commands(cli: "click.Group") -> None:
    from batchmeter.commands import LazyCommand  # noqa: PLC0415 - only where commands are wanted

    cli.add_command(LazyCommand("budgets", "batchmeter_budgets.commands:budgets", BUDGETS))


@hookimpl
def register_events(register: "Callable[[type[PluginEvent]], None]") -> None:
    from .events import Alert, BudgetAlert  # noqa: PLC0415 - only where events are read

    register(BudgetAlert)
    register(Alert)


__getattr__ = lazy_names(
    __name__,
    {
        "events": "Alert BudgetAlert",
        "settings": "BudgetSettings BudgetsSettings",
        "plugin": "Budgets",
    },
)
