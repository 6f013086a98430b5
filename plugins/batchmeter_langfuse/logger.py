"""The plugin: each event through the langfuse SDK, acknowledged by Langfuse's own intake."""

import asyncio
import threading
from contextvars import Context
from importlib.metadata import version
from typing import TYPE_CHECKING

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.hookspecs import hookimpl
from batchmeter_otel.installed import require

from .lines import Line, Sample
from .settings import LangfuseSettings, enabled

if TYPE_CHECKING:
    from batchmeter import AsyncClient

    from .sender import Sender


class LangfuseLogger:
    """Delivered means: Langfuse has stored it durably; it is to be seen some seconds later.

    The SDK is imported with the first event, off the event loop: it takes half a second.
    """

    Settings = LangfuseSettings

    def __init__(self, settings: LangfuseSettings | None = None) -> None:
        require("langfuse", "opentelemetry.exporter.otlp.proto.http")
        _refuse_older(version("langfuse"))
        self.settings = chosen = settings or LangfuseSettings()
        self._sample = Sample(chosen.lines, chosen.lines_limit)
        self._client: AsyncClient | None = None
        self._lock = threading.Lock()
        self._opened: Sender | None = None

    @hookimpl
    def startup(self, client: "AsyncClient") -> None:
        self._client = client

    @hookimpl
    async def acreate_batch(self, event: BatchCreated) -> None:
        await self._deliver(event, [])

    @hookimpl
    async def batch_success(self, event: BatchSucceeded) -> None:
        await self._deliver(event, await self._lines(event))

    @hookimpl
    async def batch_failure(self, event: BatchFailed) -> None:
        await self._deliver(event, await self._lines(event))

    @hookimpl
    async def shutdown(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    async def _lines(self, event: BatchSucceeded | BatchFailed) -> list[Line]:
        if self._client is None or not self._sample.ratio or not enabled():
            return []
        return await self._sample.lines(self._client, event)

    async def _deliver(self, event: BatchCreated | BatchSucceeded | BatchFailed, lines: list[Line]) -> None:
        if not enabled():
            return
        await asyncio.to_thread(Context().run, self._send, event, lines)

    def _send(self, event: BatchCreated | BatchSucceeded | BatchFailed, lines: list[Line]) -> None:
        """In a thread, and in a context of its own: no span or attribute of the application is current here."""
        self._sender().deliver(event, lines)

    def _sender(self) -> "Sender":
        from .sender import Sender  # noqa: PLC0415 - imports langfuse and OpenTelemetry

        with self._lock:
            if self._opened is None:
                self._opened = Sender(self.settings)
            return self._opened


def _refuse_older(found: str) -> None:
    """Its metadata would be read otherwise, and its client cannot be kept apart."""
    if int(found.partition(".")[0]) < 5:  # noqa: PLR2004 - the major release whose wire format this is
        raise ImportError(f"langfuse {found} is installed and 5 is needed: pip install 'batchmeter[langfuse]'")
