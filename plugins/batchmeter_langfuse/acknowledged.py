"""The SDK's exports, with what became of them: between it and its caller lies a queue that tells nothing."""

from collections.abc import Iterable, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from batchmeter.errors import BatchmeterError
from batchmeter_otel.otlp import Channel


class AcknowledgedExporter(SpanExporter):
    """One delivery at a time: whoever flushes asks `settle` next."""

    def __init__(self, channel: Channel[Sequence[ReadableSpan]]) -> None:
        self._channel = channel
        self._accepted: set[int] = set()
        self._failure: Exception | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            self._channel.send(spans)
        except Exception as error:  # noqa: BLE001 - raised again by `settle`, past the SDK's queue
            self._failure = error
            return SpanExportResult.FAILURE
        self._accepted.update(span.context.span_id for span in spans if span.context)
        return SpanExportResult.SUCCESS

    def settle(self, expected: Iterable[int]) -> None:
        """Raises unless each of these spans has been accepted since the last call."""
        failure, accepted = self._failure, self._accepted
        self._failure, self._accepted = None, set()
        if failure is not None:
            raise failure
        lost = set(expected) - accepted
        if lost:
            raise BatchmeterError(f"the langfuse SDK did not send {len(lost)} observation(s); its log may say why")

    def shutdown(self) -> None:
        self._channel.close()

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - OpenTelemetry's signature
        """Nothing is held here."""
        return True
