"""The web pages of `batchmeter serve`: spend, batches, unknown costs, loggers, prices, keys, under `/ui`.

The plugin adds its routes by the proxy's hook `register_routes`, and brings a hook of its own, `register_pages`
(`hookspecs.py`), by which other plugins add pages. Names are imported when they are first used: every command line
loads this module.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import hookspecs

if TYPE_CHECKING:
    from .page import Content, Page
    from .plugin import Pages, PagesSettings
    from .view import View

__all__ = ["Content", "Page", "Pages", "PagesSettings", "View", "hookspecs"]

_HOMES = {"Content": "page", "Page": "page", "Pages": "plugin", "PagesSettings": "plugin", "View": "view"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
