"""Trace and span ids that follow from the batch: a resend replaces, and a link can point to a span yet to come.

`sha256(seed)[:16]` is also what Langfuse makes of the same seed, so both show one batch under one trace id.
"""

import hashlib

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from batchmeter.events import Event

_W3C = TraceContextTextMapPropagator()


def seed_of(event: Event) -> str:
    """Two accounts may have a batch of one id; an account named as its provider keeps the shorter seed."""
    if event.account == event.provider:
        return f"{event.provider}:{event.batch_id}"
    return f"{event.provider}\x1f{event.account}\x1f{event.batch_id}"


def trace_id(seed: str) -> int:
    return _number(seed, 16)


def span_id(seed: str) -> int:
    return _number(seed, 8)


def context_of(trace: int, span: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace, span, is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def caller_of(event: Event) -> SpanContext | None:
    """The span that submitted the batch, if it said so."""
    if not event.traceparent:
        return None
    found = get_current_span(_W3C.extract({"traceparent": event.traceparent}, Context())).get_span_context()
    return found if found.is_valid else None


def submission_context(event: Event) -> SpanContext:
    """The `create_batch` span: in the caller's trace, else the root of the batch's own."""
    caller, seed = caller_of(event), seed_of(event)
    return context_of(caller.trace_id if caller else trace_id(seed), span_id(f"{seed}:create"))


def batch_context(event: Event, *, child: bool) -> SpanContext:
    """The `batch` span: in a trace of its own, or (`child`) in the caller's."""
    seed = seed_of(event)
    caller = caller_of(event) if child else None
    return context_of(caller.trace_id if caller else trace_id(seed), span_id(f"{seed}:batch"))


def as_remote(context: SpanContext) -> NonRecordingSpan:
    """A parent that a sampler which honours parents will follow."""
    return NonRecordingSpan(context_of(context.trace_id, context.span_id, remote=True))


def _number(seed: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:size], "big") or 1  # 0 means "no id"
