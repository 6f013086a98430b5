"""The hooks of per-request traces: `batch_lines` for loggers, and the one by which its lines are opened."""

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from batchmeter.hookspecs import Companion, hookspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchmeter.events import BatchFailed, BatchSucceeded

    from .lines import BatchLines

_SECONDS = 900.0
"""For reading a batch's files, and for sending at most ten thousand lines."""


@hookspec
@Companion(("batch_success", "batch_failure"), opened_by="open_lines", seconds=_SECONDS)
def batch_lines(event: "BatchSucceeded | BatchFailed", lines: "BatchLines") -> None:
    """A sample of a finished batch's lines, once per batch and revision: `for line in lines`, or `async for`.

    The plugin's attribute `line_sample` (a `LineSample`) says which; without it failed and dear lines come, without content.
    The same lines come with the same ids each time. Their usage and cost are inside the event's: never add them to it.
    It is delivered apart from the plugin's other hooks, as `<plugin>.batch_lines`, and may come before `batch_success`.
    Failures: as `batch_success`; 15 minutes. Mark the implementation `@hookimpl(optionalhook=True)`.
    """


@hookspec(firstresult=True)
def open_lines(  # type: ignore[empty-body]
    plugin: object, event: "BatchSucceeded | BatchFailed"
) -> AbstractAsyncContextManager["Mapping[str, BatchLines]"]:  # pyright: ignore[reportReturnType] - a hook has no body
    """The argument `lines` of a call of `batch_lines`. Implemented by this plugin itself."""
