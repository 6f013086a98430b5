"""The hooks that budgets bring: two kinds of events for loggers, and the way from a client to its budgets."""

from typing import TYPE_CHECKING

from batchmeter.hookspecs import hookspec

if TYPE_CHECKING:
    from .events import Alert, BudgetAlert
    from .opened import OpenBudgets


@hookspec
def budget_alert(event: "BudgetAlert") -> None:
    """A budget crossed a threshold, refused a batch, or cannot tell: once per budget, bucket, period and threshold.

    Failures: as `acreate_batch`. Mark the implementation `@hookimpl(optionalhook=True)`: budgets may not be installed.
    """


@hookspec
def alert(event: "Alert") -> None:
    """Something besides budgets needs a look: a late or failed batch, a logger that is owed, old prices; once each.

    Failures, and how to mark it: as `budget_alert`.
    """


@hookspec
def open_budgets() -> "OpenBudgets":  # type: ignore[empty-body]  # pyright: ignore[reportReturnType] - a hook has no body
    """The budgets of this client, for the commands and servers in it. Implemented by the budgets themselves."""
