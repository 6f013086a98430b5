"""The web pages of `batchmeter serve`: spend, batches, unknown costs, loggers, prices, keys, under `/ui`.

The plugin adds its routes by the proxy's hook `register_routes`, and brings a hook of its own, `register_pages`
(`hookspecs.py`), by which other plugins add pages. Names are imported when they are first used: every command line
loads this module.
"""

from typing import TYPE_CHECKING

from batchmeter import hookimpl
from batchmeter.lazy import lazy_names

from . import hookspecs

if TYPE_CHECKING:
    import click

    from .page import card, moment
    from .plugin import Pages
    from .settings import PagesSettings
    from .table import facts, progress, table
    from .view import Content, Page, Tile, View
    from .words import amount, dollars, shortened

__all__ = [
    "Content", "Page", "Pages", "PagesSettings", "Tile", "View", "amount", "card", "dollars", "facts", "hookspecs",
    "moment", "progress", "shortened", "table",
]  # fmt: skip


UI = "Open the web pages: of the server that runs here, else of one started for it."


@hookimpl
def register_commands(cli: "click.Group") -> None:
    from batchmeter.commands import LazyCommand  # noqa: PLC0415 - only where commands are wanted

    cli.add_command(LazyCommand("ui", "batchmeter_ui.commands:ui", UI))


__getattr__ = lazy_names(
    __name__,
    {
        "page": "card moment",
        "plugin": "Pages",
        "settings": "PagesSettings",
        "table": "facts progress table",
        "view": "Content Page Tile View",
        "words": "amount dollars shortened",
    },
)
