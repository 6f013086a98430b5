"""A logger that fails around another one, as one whose process dies does: before the event went out, or after it."""

from typing import Literal

from batchmeter.config import Settings
from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, Event
from batchmeter.hookspecs import hookimpl
from batchmeter.host import PluginHost
from batchmeter.plugins import Plugins

NAME = "under-test"


class FailedOnPurposeError(Exception):
    """The logger that the deliverer sees."""


class Shaky:
    """Fails at every event's first try: `before` the logger gets it, or `after` it has accepted it."""

    def __init__(self, logger: object, when: Literal["before", "after"]) -> None:
        self._plugins = Plugins(Settings(), {})
        self._plugins.register(logger, NAME)
        self._when = when
        self.failed: set[str] = set()

    @hookimpl
    async def acreate_batch(self, event: BatchCreated) -> None:
        await self._deliver(event)

    @hookimpl
    async def batch_success(self, event: BatchSucceeded) -> None:
        await self._deliver(event)

    @hookimpl
    async def batch_failure(self, event: BatchFailed) -> None:
        await self._deliver(event)

    @hookimpl
    async def startup(self, host: PluginHost, client: object) -> None:
        await self._plugins.startup(host, client)

    @hookimpl
    async def shutdown(self) -> None:
        await self._plugins.shutdown()

    async def _deliver(self, event: Event) -> None:
        first = event.id not in self.failed
        self.failed.add(event.id)
        if first and self._when == "before":
            raise FailedOnPurposeError
        await self._plugins.loggers[NAME].deliver(event)
        if first:
            raise FailedOnPurposeError
