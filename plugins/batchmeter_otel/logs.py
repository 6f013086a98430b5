"""An event as an OpenTelemetry log event, correlated with its span."""

from decimal import Decimal

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import set_span_in_context

from batchmeter.events import AlertEvent, BatchFailed, Outcome

from . import semconv
from .attributes import AnyEvent
from .ids import as_remote
from .spans import SCOPE, Span, nanoseconds


def record_of(event: AnyEvent, span: Span, resource: Resource) -> ReadableLogRecord:
    failed = isinstance(event, BatchFailed)
    at = nanoseconds(event.time)
    record = LogRecord(
        timestamp=at,
        observed_timestamp=at,
        context=set_span_in_context(as_remote(span.context)),
        severity_text="ERROR" if failed else "INFO",
        severity_number=SeverityNumber.ERROR if failed else SeverityNumber.INFO,
        body=_sentence(event),
        attributes=span.attributes,
        event_name=f"batchmeter.{event.type}",
    )
    return ReadableLogRecord(record, resource, SCOPE)


def alert_of(event: AlertEvent, resource: Resource) -> ReadableLogRecord:
    """Amounts are numbers, so that receivers can compare and draw them."""
    at = nanoseconds(event.time)
    record = LogRecord(
        timestamp=at,
        observed_timestamp=at,
        severity_text="WARN",
        severity_number=SeverityNumber.WARN,
        body=event.message,
        attributes=alert_attributes(event),
        event_name=f"batchmeter.{event.type}",
    )
    return ReadableLogRecord(record, resource, SCOPE)


def alert_attributes(event: AlertEvent) -> dict[str, str | int | float | bool]:
    """`batchmeter.alert.limit`, `.kind`, …; what says nothing is left out."""
    found: dict[str, str | int | float | bool] = {semconv.EVENT_ID: event.id}
    for name, value in event:
        plain = float(value) if isinstance(value, Decimal) else value
        if name not in _ELSEWHERE and isinstance(plain, str | int | float) and plain != "":
            found[f"batchmeter.alert.{name}"] = plain
    return found


_ELSEWHERE = frozenset({"id", "type", "time", "message", "revision", "traceparent"})


def _sentence(event: AnyEvent) -> str:
    if not isinstance(event, Outcome):
        return f"{event.provider} accepted batch {event.batch_id}"
    counts, cost = event.request_counts, event.cost
    price = "cost unknown" if cost.total is None else f"{cost.total:f} {cost.currency}"
    return (
        f"{event.provider} batch {event.batch_id} {event.status}: {counts.succeeded} of {counts.total} lines, {price}"
    )
