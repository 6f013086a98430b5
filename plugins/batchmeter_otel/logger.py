"""The plugin: each event as a finished span and a log event, the ledger's sums as metrics."""

import asyncio
import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING

from batchmeter.events import AlertEvent, BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.hookspecs import hookimpl

from .installed import require
from .settings import OTelSettings

if TYPE_CHECKING:
    from batchmeter.host import PluginHost
    from batchmeter_traces import BatchLines

    from .sender import Sender

log = logging.getLogger("batchmeter.otel")

_FIRST, _LAST = 5.0, 3.0
"""Seconds: before the first export of metrics, and for the one at the end."""


class OTelLogger:
    """OTLP/HTTP, acknowledged; or the application's own tracer provider (`mode = "embedded"`).

    OpenTelemetry is imported with the first event: most commands of a command line deliver none.
    """

    Settings = OTelSettings

    def __init__(self, settings: OTelSettings | None = None) -> None:
        require("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
        self.settings = settings or OTelSettings()
        self._off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        self.line_sample = self.settings.lines
        wanted = self.line_sample is not None and self.settings.sends("traces") and not self._off
        self.unsubscribed = () if wanted else ("batch_lines",)
        self._lock = threading.Lock()
        self._opened: Sender | None = None
        self._reporting: asyncio.Task[None] | None = None
        if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip().lower() == "grpc":
            log.warning("OTEL_EXPORTER_OTLP_PROTOCOL is grpc, which acknowledges nothing: OTLP/HTTP is spoken instead")

    @hookimpl
    def acreate_batch(self, event: BatchCreated) -> None:
        self._deliver(event)

    @hookimpl
    def batch_success(self, event: BatchSucceeded) -> None:
        self._deliver(event)

    @hookimpl
    def batch_failure(self, event: BatchFailed) -> None:
        self._deliver(event)

    @hookimpl(optionalhook=True)
    def batch_lines(self, event: BatchSucceeded | BatchFailed, lines: "BatchLines") -> None:
        self._sender().deliver_lines(event, lines)

    @hookimpl(optionalhook=True)
    def budget_alert(self, event: AlertEvent) -> None:
        self._deliver(event)

    @hookimpl(optionalhook=True)
    def alert(self, event: AlertEvent) -> None:
        self._deliver(event)

    @hookimpl(optionalhook=True)
    def reconcile_drift(self, event: AlertEvent) -> None:
        self._deliver(event)

    @hookimpl
    async def startup(self, host: "PluginHost") -> None:
        if self.settings.mode == "durable" and self.settings.sends("metrics") and not self._off:
            self._reporting = asyncio.create_task(self._report(host), name="batchmeter-otel-metrics")

    @hookimpl
    async def shutdown(self) -> None:
        reporting, self._reporting = self._reporting, None
        if reporting is not None:
            reporting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporting
        self.close()

    def close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _deliver(self, event: BatchCreated | BatchSucceeded | BatchFailed | AlertEvent) -> None:
        if self._off:
            return
        if self.settings.mode == "durable":
            self._sender().deliver(event)
            return
        from .embedded import emit  # noqa: PLC0415 - imports OpenTelemetry

        emit(event, child=self.settings.trace_parenting == "child")

    def _sender(self) -> "Sender":
        from .sender import Sender  # noqa: PLC0415 - imports OpenTelemetry and requests

        with self._lock:
            if self._opened is None:
                self._opened = Sender(self.settings)
            return self._opened

    async def _report(self, host: "PluginHost") -> None:
        """Until cancelled; then once more if there was anything to tell, for a process that is soon over."""
        interval = self.settings.interval
        try:
            await asyncio.sleep(min(_FIRST, interval))
            while await self._report_once(host):  # noqa: ASYNC110 - a clock, not a condition
                await asyncio.sleep(interval)
        except asyncio.CancelledError:
            if self._opened is not None:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(_LAST):
                        await self._report_once(host)
            raise

    async def _report_once(self, host: "PluginHost") -> bool:
        sender = await asyncio.to_thread(self._sender)
        return sender.reporter is not None and await sender.reporter.report(host)
