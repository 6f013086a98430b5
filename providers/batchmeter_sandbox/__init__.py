"""The sandbox: a provider of our own that behaves like OpenAI's batch API, with trouble on demand and a fast clock."""

from typing import TYPE_CHECKING

import batchmeter.hookspecs as batchmeter
from batchmeter.lazy import lazy_names

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from batchmeter.providers import ProviderFactory

    from .clock import ManualClock
    from .engine import Engine
    from .refusal import Refusal
    from .results import Totals
    from .script import Fault, Script
    from .server import Server, serving

__all__ = ["Engine", "Fault", "ManualClock", "Refusal", "Script", "Server", "Totals", "register_providers", "serving"]

providers = ("sandbox",)
"""Providers that it brings."""


SANDBOX = (
    "Serve OpenAI's files, batches and single calls: no model behind it, real shapes, real usage, trouble on demand."
)
DEMO = "Submit, follow, meter and price a batch, with no key and no network: what you would see with a real one."


@batchmeter.hookimpl
def register_commands(cli: "click.Group") -> None:
    """Brings the commands `sandbox` and `demo`."""
    from batchmeter.commands import LazyCommand  # noqa: PLC0415 - only where commands are wanted

    cli.add_command(LazyCommand("sandbox", "batchmeter_sandbox.commands:sandbox", SANDBOX))
    cli.add_command(LazyCommand("demo", "batchmeter_sandbox.commands:demo", DEMO))


@batchmeter.hookimpl
def register_providers(register: "Callable[[ProviderFactory], None]") -> None:
    """Brings the provider `sandbox`."""
    from .provider import SandboxProvider  # noqa: PLC0415 - only a client that is made needs it

    register(SandboxProvider)


__getattr__ = lazy_names(
    __name__,
    {
        "engine": "Engine",
        "script": "Fault Script",
        "clock": "ManualClock",
        "refusal": "Refusal",
        "server": "Server serving",
        "results": "Totals",
    },
)
