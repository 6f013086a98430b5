"""An event's facts as span attributes; the same for traces and logs."""

import json
import os
from decimal import Decimal
from typing import Any

from opentelemetry.util.types import AttributeValue

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, Outcome
from batchmeter.models import Batch, Cost, Usage, plain

from . import semconv

Attributes = dict[str, AttributeValue]
AnyEvent = BatchCreated | BatchSucceeded | BatchFailed


def attributes_of(event: AnyEvent, operation: str) -> Attributes:
    """Usage and cost are on the ending only: the submission infers nothing."""
    found: dict[str, Any] = {
        semconv.OPERATION: operation,
        semconv.PROVIDER: provider_name(event.provider),
        semconv.REQUEST_MODEL: model_of(event),
        **_batch(event.batch, event.endpoint),
        **_ours(event),
    }
    if isinstance(event, Outcome):
        found |= _outcome(event)
    if isinstance(event, BatchFailed):
        found[semconv.ERROR_TYPE] = f"batch_{event.status}"
    return {name: value for name, value in found.items() if value is not None and value != ()}


def provider_name(provider: str) -> str:
    return semconv.PROVIDERS.get(provider, provider)


def model_of(event: AnyEvent) -> str | None:
    """The batch's one model; None where it has several, or none is known."""
    if event.batch.model:
        return event.batch.model
    models = list(event.models) if isinstance(event, Outcome) else []
    return models[0] if len(models) == 1 else None


def usd(amount: Decimal) -> str:
    """Plain digits, as everywhere in batchmeter."""
    return str(plain(Cost(total=amount))["total"])


def _batch(batch: Batch, endpoint: str | None) -> dict[str, Any]:
    return {
        semconv.BATCH_ID: batch.id,
        semconv.BATCH_STATUS: batch.status,
        semconv.BATCH_ENDPOINT: endpoint or batch.endpoint,
        semconv.BATCH_WINDOW: batch.completion_window,
        semconv.BATCH_INPUT_FILE: batch.input_file_id,
        semconv.BATCH_OUTPUT_FILE: batch.output_file_id,
        semconv.BATCH_ERROR_FILE: batch.error_file_id,
        semconv.BATCH_CREATED_AT: batch.created_at,
        semconv.BATCH_ENDED_AT: batch.ended_at,
        semconv.BATCH_EXPIRES_AT: batch.expires_at,
    }


def _ours(event: AnyEvent) -> dict[str, Any]:
    who = event.attribution
    return {
        semconv.EVENT_ID: event.id,
        semconv.ACCOUNT: event.account,
        semconv.REGION: event.region,
        semconv.REVISION: event.revision,
        semconv.ADOPTED: event.adopted or None,
        semconv.USER_ID: who.user,
        semconv.SESSION_ID: who.session,
        semconv.TEAM: who.team,
        semconv.KEY: who.key,
        semconv.TAGS: who.tags,
        **{f"{semconv.METADATA}{name}": value for name, value in event.metadata.items()},
    }


def _outcome(event: Outcome) -> dict[str, Any]:
    counts = event.request_counts
    return {
        semconv.RESPONSE_MODEL: next(iter(event.models)) if len(event.models) == 1 else None,
        semconv.COUNT_TOTAL: counts.total,
        semconv.COUNT_COMPLETED: counts.succeeded,
        semconv.COUNT_FAILED: counts.failed,
        semconv.MALFORMED: counts.malformed or None,
        semconv.UNPRICED: counts.unpriced or None,
        semconv.MISSING: event.missing or None,
        semconv.DUPLICATES: event.duplicates or None,
        semconv.NOTES: event.notes,
        semconv.MODELS: _json({name: plain(share) for name, share in event.models.items()}),
        semconv.USAGE: _units(event.usage),
        semconv.REPORTED_USAGE: _units(event.reported_usage) if event.reported_usage else None,
        semconv.RATES: _json([plain(used) for used in event.rates]) if event.rates else None,
        **_usage(event.usage),
        **_cost(event.cost),
        semconv.REPORTED_COST: usd(event.reported_cost.total) if event.reported_cost else None,
        semconv.REPORTED_LINES: event.reported_cost.lines if event.reported_cost else None,
    }


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _units(usage: Usage) -> str:
    """Without the zeros, of which there are twenty."""
    return _json({name: units for name, units in plain(usage).items() if units})


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        semconv.INPUT_TOKENS: usage.input_tokens,
        semconv.OUTPUT_TOKENS: usage.output_tokens,
        semconv.CACHE_READ_TOKENS: usage.cached_input_tokens,
        semconv.CACHE_WRITE_TOKENS: usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        semconv.REASONING_TOKENS: usage.reasoning_tokens,
    }


def _cost(cost: Cost) -> dict[str, Any]:
    """An unknown total is not sent at all: no receiver may take it for zero."""
    found: dict[str, Any] = {
        semconv.KNOWN_COST: usd(cost.known),
        semconv.UNKNOWN_COST: tuple(f"{reason}:{lines}" for reason, lines in sorted(cost.unknown.items())),
        semconv.COST_DETAILS: tuple(f"{reason}: {text}" for reason, texts in cost.details.items() for text in texts),
        semconv.COST_FLAGS: cost.flags,
        semconv.ESTIMATED: cost.estimated or None,
        semconv.PRICE_BOOK: cost.price_book,
        semconv.PRICED_AT: cost.priced_at.isoformat() if cost.priced_at else None,
    }
    if cost.total is None:
        return found
    found |= {semconv.COST: float(cost.total), semconv.EXACT_COST: usd(cost.total)}
    if semconv.OPT_IN in os.environ.get(semconv.OPT_IN_VARIABLE, ""):
        proposed = {semconv.COST_AMOUNT: float(cost.total), semconv.COST_CURRENCY: cost.currency}
        found |= {**proposed, semconv.COST_SOURCE: "local"}
    return found
