"""The web pages of `batchmeter serve`: spend, batches, unknown costs, loggers, prices, keys, under `/ui`.

The plugin adds its routes by the proxy's hook `register_routes`, and brings a hook of its own, `register_pages`
(`hookspecs.py`), by which other plugins add pages. Names are imported when they are first used: every command line
loads this module.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batchmeter import hookimpl

from . import hookspecs

if TYPE_CHECKING:
    import click

    from .page import Content, Page, Tile, card, moment
    from .plugin import Pages, PagesSettings
    from .table import facts, progress, table
    from .view import View
    from .words import amount, dollars, shortened

__all__ = [
    "Content", "Page", "Pages", "PagesSettings", "Tile", "View", "amount", "card", "dollars", "facts", "hookspecs",
    "moment", "progress", "shortened", "table",
]  # fmt: skip

_HOMES = {
    "Content": "page", "Page": "page", "Tile": "page", "card": "page", "moment": "page",
    "Pages": "plugin", "PagesSettings": "plugin",
    "facts": "table", "progress": "table", "table": "table",
    "View": "view",
    "amount": "words", "dollars": "words", "shortened": "words",
}  # fmt: skip
"""Name -> its module."""


UI = "Open the web pages: of the server that runs here, else of one started for it."


@hookimpl
def register_commands(cli: "click.Group") -> None:
    from batchmeter.commands import LazyCommand  # noqa: PLC0415 - only where commands are wanted

    cli.add_command(LazyCommand("ui", "batchmeter_ui.commands:ui", UI))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
