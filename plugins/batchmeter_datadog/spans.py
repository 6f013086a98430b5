"""An ended batch as LLM Observability spans: a workflow, and in it one llm span a model with its explicit cost."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from batchmeter.events import BatchFailed, BatchSucceeded
from batchmeter.models import ModelUsage, plain

from .tags import clean

Ending = BatchSucceeded | BatchFailed
Span = dict[str, Any]

OLDEST_START = timedelta(hours=20)
"""Datadog takes spans up to 24 hours old; a batch that ran all day starts, for it, this long ago."""
TOO_OLD = timedelta(hours=23)
_LONGEST = 1000
"""Characters of one text of a span's metadata."""


def spans_of(event: Ending, now: datetime) -> list[Span]:
    """Empty when the batch ended too long ago. Times are cut to what is accepted; the true ones are in metadata."""
    ended = event.times.ended_at or event.time
    if now - ended > TOO_OLD:
        return []
    created = event.times.created_at or ended
    start = min(max(created, now - OLDEST_START), ended)
    when = {"start_ns": _nanoseconds(start), "duration": _nanoseconds(ended) - _nanoseconds(start)}
    seed = _seed(event)
    root = {
        **when,
        "name": f"batch {event.endpoint or event.provider}",
        "trace_id": _hex(seed, 16),
        "span_id": _decimal(f"{seed}:batch"),
        "parent_id": "undefined",
        "status": "error" if isinstance(event, BatchFailed) else "ok",
        "meta": _meta("workflow", _facts(event), _error(event)),
        "metrics": {},
    }
    models = [_model(event, model, share, root) for model, share in event.models.items()]
    return [root, *models]


def tags_of(event: Ending, shared: tuple[str, ...], ml_app: str) -> list[str]:
    """A span's own tags may tell one from the other: they are no metric's."""
    who = event.attribution
    named = {
        "ml_app": ml_app,
        "provider": event.provider,
        "account": event.account,
        "batch_id": event.batch_id,
        "batch_status": event.status,
        "team": who.team,
        "user_id": who.user,
        "source": "batchmeter",
    }
    return [*shared, *(f"{name}:{clean(value)}" for name, value in named.items() if value), *who.tags]


def _seed(event: Ending) -> str:
    """Two accounts may have a batch of one id; an account named as its provider keeps the shorter seed."""
    if event.account == event.provider:
        return f"{event.provider}:{event.batch_id}"
    return f"{event.provider}\x1f{event.account}\x1f{event.batch_id}"


def _model(event: Ending, model: str, share: ModelUsage, root: Span) -> Span:
    """Without a known cost it is a task without a model: of an llm span Datadog would estimate one, at full price."""
    embeds = (event.endpoint or "").rstrip("/").endswith("/embeddings")
    known = share.cost is not None
    about = {"model_name": model, "model_provider": event.provider} if known else {"answered_by": model}
    kind = ("embedding" if embeds else "llm") if known else "task"
    return {
        **{name: root[name] for name in ("start_ns", "duration", "trace_id", "status")},
        "name": f"batch {model}",
        "span_id": _decimal(f"{_seed(event)}:batch:{model}"),
        "parent_id": root["span_id"],
        "meta": _meta(
            kind,
            {
                **about,
                "lines": share.lines,
                "cost_usd": plain(share)["cost"],
                "known_cost_usd": plain(share)["known"],
                "usd_per_million": _rates(event, model),
            },
            {},
            about if known else {},
        ),
        "metrics": _metrics(share),
    }


def _rates(event: Ending, model: str) -> str | None:
    """`input 0.125, output 1 (litellm)`, of each group of the model's lines that has rates of its own."""
    groups = [used for used in event.rates if (used.model or "unknown") == model and used.usd_per_million]
    texts = (
        ", ".join(f"{bucket} {rate}" for bucket, rate in plain(used)["usd_per_million"].items()) + f" ({used.origin})"
        for used in groups
    )
    return "; ".join(dict.fromkeys(texts))[:_LONGEST] or None


def _metrics(share: ModelUsage) -> dict[str, float]:
    usage = share.usage
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    found: dict[str, float] = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "cache_write_input_tokens": written,
        "non_cached_input_tokens": usage.input_tokens - usage.cached_input_tokens - written,
        "reasoning_output_tokens": usage.reasoning_tokens,
    }
    return found if share.cost is None else {**found, "total_cost": float(share.cost)}


def _meta(kind: str, metadata: dict[str, Any], error: dict[str, Any], model: dict[str, str] | None = None) -> Span:
    """The kind stands where the public API reads it, and where the agent's intake does; so do the model's names."""
    kept = {name: value for name, value in metadata.items() if value is not None}
    return {"kind": kind, "span": {"kind": kind}, **(model or {}), **error, "metadata": kept}


def _error(event: Ending) -> dict[str, Any]:
    if not isinstance(event, BatchFailed):
        return {}
    return {"error": {"type": f"batch_{event.status}", "message": f"the batch ended as {event.status}"}}


def _facts(event: Ending) -> dict[str, Any]:
    """Numbers and text only: nothing else is taken."""
    counts, times = event.request_counts, plain(event.times)
    return {
        "event_id": event.id,
        "revision": event.revision,
        "requests_total": counts.total,
        "requests_succeeded": counts.succeeded,
        "requests_failed": counts.failed,
        "requests_malformed": counts.malformed,
        "requests_unpriced": counts.unpriced,
        "cost_usd": plain(event.cost)["total"],
        "known_cost_usd": plain(event.cost)["known"],
        "cost_unknown": ", ".join(f"{reason}:{lines}" for reason, lines in sorted(event.cost.unknown.items())) or None,
        "cost_details": "; ".join(f"{r}: {', '.join(texts)}" for r, texts in event.cost.details.items())[:_LONGEST]
        or None,
        "cost_flags": ", ".join(event.cost.flags) or None,
        "reported_cost_usd": plain(event.reported_cost)["total"] if event.reported_cost else None,
        "price_book": event.cost.price_book,
        **{name: times[name] for name in ("created_at", "in_progress_at", "ended_at", "total_seconds")},
        "notes": ", ".join(event.notes) or None,
    }


def _nanoseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def _digest(seed: str, size: int) -> bytes:
    return hashlib.sha256(seed.encode()).digest()[:size]


def _hex(seed: str, size: int) -> str:
    return _digest(seed, size).hex()


def _decimal(seed: str) -> str:
    return str(int.from_bytes(_digest(seed, 8), "big") or 1)
