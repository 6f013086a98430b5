"""An event as metric points: counts for what adds up, distributions for what has a shape."""

from collections import Counter
from decimal import Decimal

from batchmeter.events import BatchCreated, Event, Outcome

from .tags import Names, Tags

Key = tuple[str, Names]
"""Metric and tags: what Datadog keeps one value a second for."""
Counts = dict[Key, Decimal]
Samples = dict[Key, float]


def counts(event: Event, tags: Tags) -> Counts:
    """The points that this event adds. A correction (a later revision) adds nothing: its batch has been counted."""
    found: Counter[Key] = Counter()
    if event.revision > 1:
        return {}
    if isinstance(event, BatchCreated):
        found["batchmeter.batches.submitted", tags.of(event)] += 1
    if isinstance(event, Outcome):
        ended = tags.of(event, status=event.status)
        found["batchmeter.batches.ended", ended] += 1
        for outcome in ("succeeded", "failed", "malformed", "unpriced"):
            number = getattr(event.request_counts, outcome)
            found["batchmeter.requests", tags.of(event, status=event.status, outcome=outcome)] += number
    return {key: Decimal(number) for key, number in found.items() if number} | _models(event, tags)


def samples(event: Event, tags: Tags) -> Samples:
    """How long it took and what it cost, for percentiles over batches."""
    if not isinstance(event, Outcome) or event.revision > 1:
        return {}
    found = {"batchmeter.batch.duration": event.times.total_seconds, "batchmeter.batch.cost": event.cost.total}
    names = tags.of(event, status=event.status)
    return {(metric, names): float(value) for metric, value in found.items() if value is not None}


def _models(event: Event, tags: Tags) -> Counts:
    """Tokens and known cost by model; under `unknown` what older events know of the cost, but not of which model."""
    if not isinstance(event, Outcome):
        return {}
    found: Counts = {}
    rest = event.cost.known
    for model, share in event.models.items():
        kinds = {
            "input": share.usage.input_tokens - share.usage.cached_input_tokens,
            "cached_input": share.usage.cached_input_tokens,
            "output": share.usage.output_tokens - share.usage.reasoning_tokens,
            "reasoning": share.usage.reasoning_tokens,
        }
        for kind, tokens in kinds.items():
            if tokens > 0:
                _add(found, "batchmeter.tokens", tags.of(event, model=model, type=kind), Decimal(tokens))
        _add(found, "batchmeter.cost_usd", tags.of(event, model=model), share.known)
        rest -= share.known
    _add(found, "batchmeter.cost_usd", tags.of(event, model="unknown"), rest)
    return found


def _add(found: Counts, metric: str, names: Names, amount: Decimal) -> None:
    if amount > 0:
        found[metric, names] = found.get((metric, names), Decimal(0)) + amount
