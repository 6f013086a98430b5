"""The hooks that the proxy brings: other plugins add routes and metrics to it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from .gauges import Gather
    from .routes import Route

_spec = pluggy.HookspecMarker("batchmeter")


@_spec
def register_routes(register: "Callable[[Route], None]") -> None:
    """Called once when a proxy is made: call `register(route)` for each route this plugin adds.

    A route of the proxy's own method and path stays the proxy's. A failure leaves this plugin's routes out, and is
    logged. Mark the implementation `@hookimpl(optionalhook=True)` where the proxy may be turned off.
    """


@_spec
def register_metrics(register: "Callable[[Gather], None]") -> None:
    """Called when a proxy is made, and by the otel logger for each export: call `register(gather)`; `await gather()` gives
    the `Gauge`s of that moment.

    Names begin with `batchmeter_`. One that fails is left out, and logged.
    """
