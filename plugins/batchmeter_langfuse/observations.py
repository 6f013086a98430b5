"""An event as Langfuse observations: one trace a batch, in it one span for the batch and one generation a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode

from batchmeter.events import BatchCreated, BatchFailed, Outcome
from batchmeter.models import ModelUsage, plain
from batchmeter_otel.ids import batch_context, caller_of, context_of, seed_of, span_id
from batchmeter_otel.spans import nanoseconds

from . import names
from .about import AnyEvent, Ending, as_json, facts, metadata, outcome, title, trace
from .usage import cost_details, usage_details


@dataclass(frozen=True, slots=True)
class Writer:
    """What all observations of one logger share."""

    resource: Resource
    scope: InstrumentationScope
    shared: Mapping[str, str]
    """Environment and release, on each."""
    child: bool

    def observations(self, event: AnyEvent) -> list[ReadableSpan]:
        """Ids and start times follow from the batch alone: Langfuse replaces what comes again."""
        if isinstance(event, BatchCreated):
            return [self._submission(event)]
        return [self._batch(event), *(self._generation(event, model, event.models[model]) for model in event.models)]

    def _submission(self, event: BatchCreated) -> ReadableSpan:
        """A moment in the trace, so that it is there while the batch runs."""
        about = {names.OBSERVATION_TYPE: "event", **metadata(facts(event))}
        return self.span(event, "create_batch", "create", about, start=event.time, end=event.time)

    def _batch(self, event: Ending) -> ReadableSpan:
        about = {names.OBSERVATION_TYPE: "span", **metadata({**facts(event), **outcome(event)})}
        failed = isinstance(event, BatchFailed)
        if failed:
            about |= {names.OBSERVATION_LEVEL: "ERROR", names.OBSERVATION_STATUS_MESSAGE: f"batch {event.status}"}
        return self.span(event, title(event), "", about, status=Status(StatusCode.ERROR) if failed else Status())

    def _generation(self, event: Ending, model: str, share: ModelUsage) -> ReadableSpan:
        """Without a known cost there is no model name either: Langfuse would price it, at the full rate."""
        embeds = (event.endpoint or "").rstrip("/").endswith("/embeddings")
        about = {
            names.OBSERVATION_TYPE: "embedding" if embeds else "generation",
            names.OBSERVATION_MODEL_PARAMETERS: as_json({"service_tier": "batch"}),
            names.OBSERVATION_USAGE_DETAILS: as_json(usage_details(share.usage)),
            **metadata({"model": model, "lines": share.lines, "cost_usd": plain(share)["cost"]}),
        }
        if share.cost is None:
            reasons = ", ".join(f"{reason} ({lines} lines)" for reason, lines in sorted(event.cost.unknown.items()))
            message = f"cost unknown: {reasons or 'no reason given'}"
            about |= {names.OBSERVATION_LEVEL: "WARNING", names.OBSERVATION_STATUS_MESSAGE: message}
        else:
            about |= {names.OBSERVATION_MODEL: model, names.OBSERVATION_COST_DETAILS: as_json(cost_details(share.cost))}
        return self.span(event, f"batch {model}", f"batch:{model}", about)

    def span(
        self,
        event: AnyEvent,
        name: str,
        part: str,
        about: Mapping[str, Any],
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        status: Status | None = None,
        above: str = "",
    ) -> ReadableSpan:
        """`part` is what this observation is of the batch, and `above` of what; empty for the batch itself."""
        root = batch_context(event, child=self.child)
        begun, ended = _times(event)

        def context(part: str) -> SpanContext:
            return context_of(root.trace_id, span_id(f"{seed_of(event)}:{part}")) if part else root

        return ReadableSpan(
            name=name,
            context=context(part),
            parent=context(above) if part else self._above(event),
            resource=self.resource,
            attributes={**trace(event), **self.shared, **about},
            start_time=nanoseconds(start or begun),
            end_time=nanoseconds(end or ended),
            status=status or Status(),
            instrumentation_scope=self.scope,
        )

    def _above(self, event: AnyEvent) -> SpanContext | None:
        return caller_of(event) if self.child else None


def _times(event: AnyEvent) -> tuple[datetime, datetime]:
    """Never from the clock of a delivery or a revision: a changed start is a second row at Langfuse."""
    times = event.times if isinstance(event, Outcome) else None
    end = (times.ended_at if times else None) or event.time
    created = event.batch.created_at
    start = (times.created_at if times else None) or (datetime.fromtimestamp(created, UTC) if created else end)
    return min(start, end), end
