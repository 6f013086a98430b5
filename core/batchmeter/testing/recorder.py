"""A logger that keeps what it gets: what a test compares with, and the smallest example of a logger."""

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.hookspecs import hookimpl


class Recorder:
    """`AsyncClient(plugins=[recorder])`, then look at `recorder.events`."""

    def __init__(self) -> None:
        self.events: list[BatchCreated | BatchSucceeded | BatchFailed] = []

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def endings(self) -> list[BatchSucceeded | BatchFailed]:
        return [event for event in self.events if not isinstance(event, BatchCreated)]

    @hookimpl
    async def acreate_batch(self, event: BatchCreated) -> None:
        self.events.append(event)

    @hookimpl
    async def batch_success(self, event: BatchSucceeded) -> None:
        self.events.append(event)

    @hookimpl
    async def batch_failure(self, event: BatchFailed) -> None:
        self.events.append(event)
