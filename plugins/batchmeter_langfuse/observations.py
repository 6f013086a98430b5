"""An event as Langfuse observations: one trace a batch, in it one span for the batch and one generation a model."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langfuse import Langfuse, LangfuseEmbedding, LangfuseEvent, LangfuseGeneration, LangfuseSpan
from opentelemetry.baggage import set_baggage
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, set_span_in_context

from batchmeter.events import BatchCreated, BatchFailed, Outcome
from batchmeter.models import ModelUsage, RatesUsed, plain
from batchmeter_otel.ids import caller_of, context_of, seed_of, span_id
from batchmeter_otel.spans import nanoseconds
from batchmeter_traces import BatchLine

from .about import AnyEvent, Ending, facts, outcome, title
from .client import Connection
from .lines import about
from .usage import cost_details, usage_details

_CLAIMED = "langfuse_trace_id"
"""Baggage by which the SDK knows that a trace has its root elsewhere."""


@dataclass(frozen=True, slots=True)
class Started:
    """An observation that has all but its end."""

    observation: LangfuseSpan | LangfuseGeneration | LangfuseEmbedding | LangfuseEvent
    id: int
    end: int
    """Nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Starts observations with ids and times that follow from the batch alone: Langfuse replaces what comes again."""

    to: Connection
    child: bool
    """The batch hangs in its caller's trace."""

    def observations(self, event: AnyEvent) -> list[Started]:
        if isinstance(event, BatchCreated):
            return [self._submission(event)]
        return [self._batch(event), *(self._generation(event, model, event.models[model]) for model in event.models)]

    def line(self, event: Ending, line: BatchLine) -> Started:
        """No usage and no cost: the generation above has them for all lines together."""
        above = f"batch:{line.model}" if line.model in event.models else ""
        begun, ended = _times(event)
        span, context = self._span(event, line.custom_id, f"line:{line.id}", above, begun, inside=True)
        observation = LangfuseSpan(otel_span=span, langfuse_client=self.to.client, **about(line))
        return Started(observation, context.span_id, ended)

    def _submission(self, event: BatchCreated) -> Started:
        """A moment in the trace, so that it is there while the batch runs."""
        span, context = self._span(event, "create_batch", "create", "", nanoseconds(event.time))
        observation = LangfuseEvent(otel_span=span, langfuse_client=self.to.client, metadata=facts(event))
        return Started(observation, context.span_id, nanoseconds(event.time))

    def _batch(self, event: Ending) -> Started:
        begun, ended = _times(event)
        span, context = self._span(event, title(event), "", "", begun)
        failed = isinstance(event, BatchFailed)
        observation = LangfuseSpan(
            otel_span=span,
            langfuse_client=self.to.client,
            metadata={**facts(event), **outcome(event)},
            level="ERROR" if failed else None,
            status_message=f"batch {event.status}" if failed else None,
        )
        return Started(observation, context.span_id, ended)

    def _generation(self, event: Ending, model: str, share: ModelUsage) -> Started:
        begun, ended = _times(event)
        span, context = self._span(event, f"batch {model}", f"batch:{model}", "", begun)
        embeds = (event.endpoint or "").rstrip("/").endswith("/embeddings")
        kind = LangfuseEmbedding if embeds else LangfuseGeneration
        observation = kind(
            otel_span=span,
            langfuse_client=self.to.client,
            model_parameters={"service_tier": "batch"},
            usage_details=usage_details(share.usage),
            metadata={
                "model": model,
                "lines": share.lines,
                "cost_usd": plain(share)["cost"],
                "rates": [plain(used) for used in rates_of(event, model)] or None,
            },
            **_price(event, model, share),
        )
        return Started(observation, context.span_id, ended)

    def _span(
        self, event: AnyEvent, name: str, part: str, above: str, start: int, *, inside: bool = False
    ) -> tuple[Span, SpanContext]:
        """`part` is what this is of the batch, and `above` of what; empty for the batch itself.

        `inside`: its parent is not open now. The SDK would call it a root, unless the trace is claimed already.
        """
        root = root_of(event, child=self.child)
        self.to.ids.next = context = _part(event, root, part)
        parent = _part(event, root, above) if part else self._caller(event)
        under = set_span_in_context(NonRecordingSpan(parent)) if parent else None
        under = set_baggage(_CLAIMED, f"{root.trace_id:032x}", under) if inside else under
        return self.to.tracer.start_span(name, context=under, start_time=start), context

    def _caller(self, event: AnyEvent) -> SpanContext | None:
        return caller_of(event) if self.child else None


def root_of(event: AnyEvent, *, child: bool) -> SpanContext:
    """The batch's own observation, by the ids that the `otel` logger gives it as well."""
    seed = seed_of(event)
    caller = caller_of(event) if child else None
    trace_id = caller.trace_id if caller else int(Langfuse.create_trace_id(seed=seed), 16)
    return context_of(trace_id, span_id(f"{seed}:batch"))


def _part(event: AnyEvent, root: SpanContext, part: str) -> SpanContext:
    return context_of(root.trace_id, span_id(f"{seed_of(event)}:{part}")) if part else root


def _price(event: Ending, model: str, share: ModelUsage) -> dict[str, Any]:
    """Without a known cost there is no model name either: Langfuse would price it, at the full rate."""
    if share.cost is not None:
        return {"model": model, "cost_details": cost_details(share.cost, rates_of(event, model))}
    reasons = ", ".join(
        f"{reason} ({lines} lines)" for reason, lines in sorted((share.unknown or event.cost.unknown).items())
    )
    return {"level": "WARNING", "status_message": f"cost unknown: {reasons or 'no reason given'}"}


def rates_of(event: Ending, model: str) -> list[RatesUsed]:
    return [used for used in event.rates if (used.model or "unknown") == model]


def _times(event: AnyEvent) -> tuple[int, int]:
    """Never from the clock of a delivery or a revision: a changed start is a second row at Langfuse."""
    times = event.times if isinstance(event, Outcome) else None
    end = (times.ended_at if times else None) or event.time
    created = event.batch.created_at
    start = (times.created_at if times else None) or (datetime.fromtimestamp(created, UTC) if created else end)
    return nanoseconds(min(start, end)), nanoseconds(end)
