"""The hook that the web pages bring: other plugins add pages to them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from .view import Page

_spec = pluggy.HookspecMarker("batchmeter")


@_spec
def register_pages(register: "Callable[[Page], None]") -> None:
    """Called when a page is asked for: call `register(page)` for each page this plugin adds, at `/ui/<its path>`.

    A path that a page of ours has is not taken. A failure leaves this plugin's pages out, and is logged. Mark the implementation `@hookimpl(optionalhook=True)` where
    the pages may be turned off.
    """
