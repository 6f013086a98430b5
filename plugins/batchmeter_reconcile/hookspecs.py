"""The hooks that reconciliations bring: an event for loggers, sources of figures, and the way from a client to them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from batchmeter.hookspecs import hookspec

if TYPE_CHECKING:
    from .events import ReconcileDrift
    from .reconciler import Reconciler
    from .sources import BillingSource


@hookspec
def reconcile_drift(event: "ReconcileDrift") -> None:
    """The vendor's figures differ from the ledger's: once for each account, run of days, status and models.

    Failures: as `acreate_batch`. Mark the implementation `@hookimpl(optionalhook=True)`: the plugin may not be installed.
    """


@hookspec
def register_billing(register: "Callable[[BillingSource], None]") -> None:
    """Called when a vendor is asked: `register(BillingSource(name, ask))` adds a vendor's report, `source = "name"`.

    `ask(question, figures)` adds `BilledRow`s to the figures, and the bytes they were read from.
    """


@hookspec
def open_reconcile() -> "Reconciler":  # type: ignore[empty-body]  # pyright: ignore[reportReturnType] - a hook has no body
    """The reconciliations of this client, for commands and servers. Implemented by the plugin itself."""
