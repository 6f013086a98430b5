"""The plugin: one acknowledged OTLP request an event, to Langfuse's own intake."""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.hookspecs import hookimpl
from batchmeter.http import HttpClient
from batchmeter_otel.installed import require

from . import names
from .settings import LangfuseSettings, enabled

if TYPE_CHECKING:
    from batchmeter import AsyncClient

    from .sender import Sender


class LangfuseLogger:
    """Delivered means: Langfuse has stored it durably; it is to be seen some seconds later."""

    Settings = LangfuseSettings

    def __init__(self, settings: LangfuseSettings | None = None) -> None:
        require("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.common")
        self.settings = chosen = settings or LangfuseSettings()
        self._client: AsyncClient | None = None
        self._opened: Sender | None = None
        self._http = HttpClient(
            chosen.base_url,
            headers={
                "authorization": chosen.authorization,
                "content-encoding": "gzip",
                "x-langfuse-sdk-name": "python",
                "x-langfuse-sdk-version": names.SDK_VERSION,
                "x-langfuse-public-key": quote(chosen.public_key),
                "x-langfuse-ingestion-version": "4",
            },
            timeout=chosen.timeout,
            max_retries=0,
        )

    @hookimpl
    def startup(self, client: "AsyncClient") -> None:
        self._client = client

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
    async def shutdown(self) -> None:
        await self._http.aclose()

    async def _deliver(self, event: BatchCreated | BatchSucceeded | BatchFailed) -> None:
        if not enabled():
            return
        if self._opened is None:
            self._opened = await asyncio.to_thread(self._open)
        await self._opened.deliver(event, self._client)

    def _open(self) -> "Sender":
        from .sender import Sender  # noqa: PLC0415 - imports OpenTelemetry

        return Sender(self.settings, self._http)
