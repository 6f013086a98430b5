"""Metadata of an event's observations: who it was for, where it ran, what it came to."""

import json
from typing import Any

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, Outcome
from batchmeter.models import plain

Ending = BatchSucceeded | BatchFailed
AnyEvent = BatchCreated | Ending
_LONGEST = 200
"""Characters that Langfuse takes of what a trace is found by; its SDK drops what is longer."""


def title(event: AnyEvent) -> str:
    return f"batch {event.endpoint or event.batch.endpoint or event.provider}"


def trace(event: AnyEvent) -> dict[str, Any]:
    """Members that the SDK is to repeat on every observation: `propagate_attributes`' own arguments."""
    who = event.attribution
    about = {**event.metadata, "batch_id": event.batch_id, "account": event.account, "team": who.team, "key": who.key}
    return {
        "trace_name": title(event)[:_LONGEST],
        "user_id": who.user[:_LONGEST] if who.user else None,
        "session_id": who.session[:_LONGEST] if who.session else None,
        "tags": [tag[:_LONGEST] for tag in who.tags] or None,
        "metadata": {name: _fitting(text) for name, text in about.items() if text is not None},
    }


def facts(event: AnyEvent) -> dict[str, Any]:
    batch = event.batch
    return {
        "event_id": event.id,
        "revision": event.revision,
        "provider": event.provider,
        "region": event.region,
        "batch_status": batch.status,
        "input_file_id": batch.input_file_id,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "completion_window": batch.completion_window,
        "adopted": event.adopted or None,
        "metadata": dict(event.metadata) or None,
    }


def outcome(event: Outcome) -> dict[str, Any]:
    return {
        "request_counts": plain(event.request_counts),
        "cost": plain(event.cost),
        "reported_cost": plain(event.reported_cost) if event.reported_cost else None,
        "rates": [plain(used) for used in event.rates] or None,
        "times": plain(event.times),
        "notes": list(event.notes) or None,
    }


def _fitting(text: str) -> str:
    """Cut so that its JSON fits, which is how the SDK counts; `facts` has the whole."""
    while (excess := len(json.dumps(text, ensure_ascii=False)) - _LONGEST) > 0:
        text = text[: -max(1, excess // 6)]  # one character may take six: `\u0000`
    return text
