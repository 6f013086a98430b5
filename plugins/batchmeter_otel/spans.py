"""An event as a finished span. Nothing is held open for the day a batch takes: both spans are built from the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded

from . import semconv
from .attributes import AnyEvent, Attributes, attributes_of, model_of
from .ids import batch_context, caller_of, context_of, seed_of, span_id, submission_context

SCOPE = InstrumentationScope("batchmeter", version("batchmeter"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_CALL = timedelta(minutes=1)
"""A batch recorded later than this after its creation was found, not submitted: the gap is no call's duration."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span's contents, before it is decided who sends it."""

    name: str
    context: SpanContext
    parent: SpanContext | None
    links: tuple[Link, ...]
    start: int
    """Nanoseconds since 1970."""
    end: int
    attributes: Attributes = field(repr=False)
    moments: tuple[tuple[str, int], ...] = ()
    status: Status = field(default_factory=Status)


def span_of(event: AnyEvent, *, child: bool) -> Span:
    """`child`: the batch span hangs in the caller's trace instead of linking to it."""
    return _submission(event, child=child) if isinstance(event, BatchCreated) else _batch(event, child=child)


def readable(span: Span, resource: Resource) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=resource,
        attributes=span.attributes,
        events=[SpanEvent(name, timestamp=at) for name, at in span.moments],
        links=span.links,
        kind=SpanKind.CLIENT,
        status=span.status,
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=SCOPE,
    )


def part_of(whole: Span, event: AnyEvent, part: str, name: str, attributes: Attributes) -> Span:
    """A span inside the batch's, with its times; `part` names it, so that a resend has the same id."""
    context = context_of(whole.context.trace_id, span_id(f"{seed_of(event)}:{part}"))
    return Span(name, context, whole.context, (), whole.start, whole.end, attributes)


def nanoseconds(moment: datetime) -> int:
    """Exact, which `timestamp() * 1e9` is not."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _submission(event: BatchCreated, *, child: bool) -> Span:
    end = event.time
    created = event.batch.created_at
    start = end if created is None else datetime.fromtimestamp(created, UTC)
    if event.adopted or not timedelta() <= end - start <= _LONGEST_CALL:
        start = end
    return Span(
        _name(semconv.SUBMIT, event),
        submission_context(event),
        caller_of(event),
        _links([batch_context(event, child=child)]),
        nanoseconds(start),
        nanoseconds(end),
        attributes_of(event, semconv.SUBMIT),
    )


def _batch(event: BatchSucceeded | BatchFailed, *, child: bool) -> Span:
    """Ends when the provider says so; a tracker that noticed late does not stretch it."""
    times = event.times
    end = times.ended_at or event.time
    caller, submission = caller_of(event), submission_context(event)
    inside = child or caller is None  # one trace: a parent says it, a link would repeat it
    moments = (("batch.in_progress", times.in_progress_at), ("batch.finalizing", times.finalizing_at))
    return Span(
        _name(semconv.BATCH, event),
        batch_context(event, child=child),
        submission if inside else None,
        () if inside else _links([submission, *([caller] if caller else [])]),
        nanoseconds(min(times.created_at or end, end)),
        nanoseconds(end),
        attributes_of(event, semconv.BATCH),
        tuple((name, nanoseconds(at)) for name, at in moments if at is not None),
        _status(event),
    )


def _status(event: BatchSucceeded | BatchFailed) -> Status:
    """Lines that failed in a completed batch are counted, not an error of the batch."""
    if not isinstance(event, BatchFailed):
        return Status()
    errors = event.batch.errors.data if event.batch.errors else []
    message = next((error.message for error in errors if error.message), None)
    return Status(StatusCode.ERROR, f"batch {event.status}" + (f": {message}" if message else ""))


def _name(operation: str, event: AnyEvent) -> str:
    model = model_of(event)
    return f"{operation} {model}" if model else operation


def _links(contexts: Sequence[SpanContext]) -> tuple[Link, ...]:
    return tuple(Link(context) for context in contexts)
