"""The plugin of one client: it opens the lines of a delivery. Whatever reads files is imported with the first."""

from typing import TYPE_CHECKING

from batchmeter import hookimpl
from batchmeter.errors import RetryLater

from . import hookspecs

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from batchmeter.events import BatchFailed, BatchSucceeded
    from batchmeter.host import PluginHost

    from .lines import BatchLines


class Traces:
    """Reads with the accounts of the client that delivers."""

    hookspecs = hookspecs

    def __init__(self) -> None:
        self._host: PluginHost | None = None

    @hookimpl
    async def startup(self, host: "PluginHost") -> None:
        self._host = host

    @hookimpl
    def open_lines(
        self, plugin: object, event: "BatchSucceeded | BatchFailed"
    ) -> "AbstractAsyncContextManager[dict[str, BatchLines]]":
        from .opening import opened  # noqa: PLC0415 - with all that reads files
        from .sample import LineSample  # noqa: PLC0415

        if self._host is None:
            raise RetryLater("traces have not started here: the log says why")
        sample = getattr(plugin, "line_sample", None)
        return opened(self._host, event, sample if isinstance(sample, LineSample) else LineSample())
