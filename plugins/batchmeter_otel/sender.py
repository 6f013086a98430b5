"""Durable delivery: OTLP/HTTP exporters of our own. Everything heavy is imported with this file, on first use."""

import logging
from collections.abc import Iterable, Sequence

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.trace import ReadableSpan

from batchmeter.errors import APIStatusError
from batchmeter.events import AlertEvent, BatchFailed, BatchSucceeded
from batchmeter_traces import BatchLine

from .attributes import AnyEvent
from .lines import portions
from .logs import alert_of, record_of
from .openinference import spans_of
from .otlp import Channel
from .reporter import NOT_SPOKEN, Reporter
from .resource import resource
from .settings import OTelSettings
from .spans import readable, span_of

log = logging.getLogger("batchmeter.otel")


class Sender:
    """The signals that are wanted, each with its channel."""

    def __init__(self, settings: OTelSettings) -> None:
        self._resource = resource()
        self._child = settings.trace_parenting == "child"
        self._for_phoenix = settings.for_phoenix
        self._spans: Channel[Sequence[ReadableSpan]] | None = None
        self._logs: Channel[Sequence[ReadableLogRecord]] | None = None
        self.reporter: Reporter | None = None
        if settings.sends("traces"):
            self._spans = Channel(settings.exporter("traces", OTLPSpanExporter))
        if settings.sends("logs"):
            self._logs = Channel(settings.exporter("logs", OTLPLogExporter))
        if settings.sends("metrics"):
            self.reporter = Reporter(Channel(settings.exporter("metrics", OTLPMetricExporter)), self._resource)

    def deliver(self, event: AnyEvent | AlertEvent) -> None:
        """The span first: should the log event fail, both come again, with the same ids. An alert is a log event alone."""
        if isinstance(event, AlertEvent):
            if self._logs is not None:
                self._send_log(self._logs, alert_of(event, self._resource))
            return
        span = span_of(event, child=self._child)
        if self._spans is not None:
            spans = spans_of(event, span) if self._for_phoenix else [span]
            self._spans.send([readable(one, self._resource) for one in spans])
        if self._logs is not None:
            self._send_log(self._logs, record_of(event, span, self._resource))

    def deliver_lines(self, event: BatchSucceeded | BatchFailed, lines: Iterable[BatchLine]) -> None:
        if self._spans is None:
            return
        for spans in portions(event, span_of(event, child=self._child), lines, for_phoenix=self._for_phoenix):
            self._spans.send([readable(span, self._resource) for span in spans])

    def close(self) -> None:
        for channel in (self._spans, self._logs, self.reporter):
            if channel is not None:
                channel.close()

    def _send_log(self, channel: Channel[Sequence[ReadableLogRecord]], record: ReadableLogRecord) -> None:
        try:
            channel.send([record])
        except APIStatusError as error:
            if error.status_code not in NOT_SPOKEN or self._spans is None:
                raise
            log.warning("the OTLP receiver takes no log events, none will be sent: %s", error)
            channel.close()
            self._logs = None
