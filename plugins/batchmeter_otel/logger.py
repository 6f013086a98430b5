"""The plugin: each event as a finished span and a log event, the ledger's sums as metrics."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan

from batchmeter.errors import APIStatusError
from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.hookspecs import hookimpl

from . import embedded
from .attributes import AnyEvent
from .logs import record_of
from .otlp import Channel
from .reporter import NOT_SPOKEN, Reporter
from .settings import OTelSettings, resource
from .spans import readable, span_of

if TYPE_CHECKING:
    from batchmeter import AsyncClient

log = logging.getLogger("batchmeter.otel")


class OTelLogger:
    """OTLP/HTTP, acknowledged; or the application's own tracer provider (`mode = "embedded"`)."""

    Settings = OTelSettings

    def __init__(self, settings: OTelSettings | None = None) -> None:
        self.settings = settings or OTelSettings()
        self._resource = resource()
        self._off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        self._spans: Channel[Sequence[ReadableSpan]] | None = None
        self._logs: Channel[Sequence[ReadableLogRecord]] | None = None
        self._metrics: Channel[MetricsData] | None = None
        self._reporting: asyncio.Task[None] | None = None
        if self.settings.mode == "durable" and not self._off:
            self._open()
        if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip().lower() == "grpc":
            log.warning("OTEL_EXPORTER_OTLP_PROTOCOL is grpc, which acknowledges nothing: OTLP/HTTP is spoken instead")

    def _open(self) -> None:
        chosen = self.settings
        if chosen.sends("traces"):
            self._spans = Channel(chosen.exporter("traces", OTLPSpanExporter))
        if chosen.sends("logs"):
            self._logs = Channel(chosen.exporter("logs", OTLPLogExporter))
        if chosen.sends("metrics"):
            self._metrics = Channel(chosen.exporter("metrics", OTLPMetricExporter))

    @hookimpl
    def acreate_batch(self, event: BatchCreated) -> None:
        self._deliver(event)

    @hookimpl
    def batch_success(self, event: BatchSucceeded) -> None:
        self._deliver(event)

    @hookimpl
    def batch_failure(self, event: BatchFailed) -> None:
        self._deliver(event)

    @hookimpl
    async def startup(self, client: "AsyncClient") -> None:
        if self._metrics is not None:
            reporter = Reporter(self._metrics, self._resource, self.settings.interval)
            self._reporting = asyncio.create_task(reporter.run(client.ledger), name="batchmeter-otel-metrics")

    @hookimpl
    async def shutdown(self) -> None:
        reporting, self._reporting = self._reporting, None
        if reporting is not None:
            reporting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporting
        for channel in (self._spans, self._logs, self._metrics):
            if channel is not None:
                channel.close()

    def _deliver(self, event: AnyEvent) -> None:
        """The span first: should the log event fail, both come again, with the same ids."""
        if self._off:
            return
        span = span_of(event, child=self.settings.trace_parenting == "child")
        if self.settings.mode == "embedded":
            embedded.emit(event, span)
            return
        if self._spans is not None:
            self._spans.send([readable(span, self._resource)])
        if self._logs is not None:
            self._send_log(self._logs, record_of(event, span, self._resource))

    def _send_log(self, channel: Channel[Sequence[ReadableLogRecord]], record: ReadableLogRecord) -> None:
        try:
            channel.send([record])
        except APIStatusError as error:
            if error.status_code not in NOT_SPOKEN or self._spans is None:
                raise
            log.warning("the OTLP receiver takes no log events, none will be sent: %s", error)
            self._logs = None
