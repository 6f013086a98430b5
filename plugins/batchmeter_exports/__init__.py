"""Exports: the ledger as views that SQL tools read, as flat files, and as FOCUS bills.

The views are made at startup in the ledger's own database (`views.py`); the commands `export costs` and `export focus`,
and `GET /v1/export/…`, read settled batches through `batchmeter.access`.
"""

from typing import TYPE_CHECKING

from batchmeter import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from batchmeter.host import PluginHost
    from batchmeter_proxy import Route

EXPORT = "Export settled batches: flat files, FOCUS bills; and the views for SQL tools."


@hookimpl
async def startup(host: "PluginHost") -> None:
    from .views import refresh_views  # noqa: PLC0415 - only where a ledger is open

    await refresh_views(host)


@hookimpl
def register_commands(cli: "click.Group") -> None:
    from batchmeter.commands import LazyCommand  # noqa: PLC0415 - only where commands are wanted

    cli.add_command(LazyCommand("export", "batchmeter_exports.commands:export", EXPORT))


@hookimpl(optionalhook=True)
def register_routes(register: "Callable[[Route], None]") -> None:
    from .routes import routes  # noqa: PLC0415 - with the server's libraries

    for route in routes():
        register(route)
