"""Spans through the tracer provider that the application has set up; it is used, never replaced or configured."""

from opentelemetry import trace

from batchmeter.errors import RetryLater
from batchmeter.events import AlertEvent

from .attributes import AnyEvent
from .ids import as_remote, context_of, seed_of, span_id
from .logs import alert_attributes
from .spans import SCOPE, nanoseconds, span_of

_ASK_AGAIN = 60.0


def emit(event: AnyEvent | AlertEvent, *, child: bool) -> None:
    """Best effort: the provider's processor may drop it, and its id generator chooses the span id.

    The parent is remote and sampled, so that a parent-based sampler keeps the span whatever its ratio.
    """
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        raise RetryLater(
            "mode is 'embedded' but this process has configured no tracer provider; configure one, or use 'durable'",
            after=_ASK_AGAIN,
        )
    if isinstance(event, AlertEvent):
        _alert(event, provider)
        return
    span = span_of(event, child=child)
    parent = span.parent or context_of(span.context.trace_id, span_id(f"{seed_of(event)}:root"))
    started = provider.get_tracer(SCOPE.name, SCOPE.version).start_span(
        span.name,
        context=trace.set_span_in_context(as_remote(parent)),
        kind=trace.SpanKind.CLIENT,
        attributes=span.attributes,
        links=span.links,
        start_time=span.start,
    )
    for name, at in span.moments:
        started.add_event(name, timestamp=at)
    started.set_status(span.status)
    started.end(end_time=span.end)


def _alert(event: AlertEvent, provider: trace.TracerProvider) -> None:
    """A span without a duration: applications have a tracer where they may have no logger provider."""
    at = nanoseconds(event.time)
    tracer = provider.get_tracer(SCOPE.name, SCOPE.version)
    span = tracer.start_span(f"batchmeter.{event.type}", attributes=alert_attributes(event), start_time=at)
    span.set_status(trace.Status(trace.StatusCode.ERROR, event.message))
    span.end(end_time=at)
