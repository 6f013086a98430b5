"""Spans as Arize Phoenix reads them: kinds, metadata, and for each model a span with its tokens and its exact cost.

Phoenix adds up the tokens of spans of kind LLM, and prices them at the full rate of the model whose name is anywhere in
`llm.model_name`: a batch would cost twice what it did. So the name is one that no price list has, and the cost comes as
a count of its own, which one model in Phoenix's settings prices (docs/loggers/phoenix.md).
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.models import ModelUsage, Usage, plain

from . import semconv
from .attributes import AnyEvent, Attributes
from .spans import Span, part_of

CHAIN, LLM = "CHAIN", "LLM"
PRICED, UNPRICED = "batch", "batch (cost unknown)"
"""Names of models."""
_NANO = Decimal(1_000_000_000)


def spans_of(event: AnyEvent, span: Span) -> list[Span]:
    """The event's span with its kind, and behind it those of the models."""
    tags = {semconv.OI_TAGS: event.attribution.tags} if event.attribution.tags else {}
    facts = {semconv.KIND: CHAIN, semconv.OI_METADATA: metadata(event), **tags}
    whole = replace(span, attributes={**span.attributes, **facts})
    return [whole] if isinstance(event, BatchCreated) else [whole, *_models(event, whole)]


def metadata(event: AnyEvent) -> str:
    """JSON."""
    who = event.attribution
    about: dict[str, Any] = {**event.metadata, "batch_id": event.batch_id, "account": event.account}
    found = {**about, "provider": event.provider, "team": who.team, "key": who.key}
    if not isinstance(event, BatchCreated):
        cost = plain(event.cost)
        found |= {"status": event.status, "cost_usd": cost["total"], "known_cost_usd": cost["known"]}
    return json.dumps({name: value for name, value in found.items() if value is not None}, ensure_ascii=False)


def _models(event: BatchSucceeded | BatchFailed, whole: Span) -> Iterator[Span]:
    for name, share in event.models.items():
        about = {
            "model": name,
            "lines": share.lines,
            "cost_usd": plain(share)["cost"],
            "unknown": share.unknown or None,
        }
        yield part_of(
            whole,
            event,
            f"model:{name}",
            f"batch {name}",
            {
                semconv.KIND: LLM,
                semconv.MODEL_NAME: UNPRICED if share.cost is None else PRICED,
                semconv.OI_METADATA: json.dumps({key: value for key, value in about.items() if value is not None}),
                **_counts(share.usage),
                **_cost(share),
            },
        )


def _counts(usage: Usage) -> Attributes:
    details = {
        f"{semconv.PROMPT_DETAILS}cache_read": usage.cached_input_tokens,
        f"{semconv.PROMPT_DETAILS}cache_write": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        f"{semconv.PROMPT_DETAILS}audio": usage.audio_input_tokens,
        f"{semconv.COMPLETION_DETAILS}reasoning": usage.reasoning_tokens,
        f"{semconv.COMPLETION_DETAILS}audio": usage.audio_output_tokens,
    }
    return {
        semconv.PROMPT_TOKENS: usage.input_tokens,
        semconv.COMPLETION_TOKENS: usage.output_tokens,
        semconv.TOTAL_TOKENS: usage.total_tokens,
        **{name: count for name, count in details.items() if count},
    }


def _cost(share: ModelUsage) -> Attributes:
    """To the billionth of a dollar; nothing where the cost is unknown."""
    if share.cost is None:
        return {}
    return {semconv.NANO_USD: int((share.cost * _NANO).to_integral_value(ROUND_HALF_EVEN))}
