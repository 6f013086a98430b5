"""What observations say of an event: who it was for, where it ran, what it came to."""

import json
from collections.abc import Mapping
from typing import Any

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, Outcome
from batchmeter.models import plain

from . import names

Ending = BatchSucceeded | BatchFailed
AnyEvent = BatchCreated | Ending
_LONGEST = 200
"""Characters of a user or session id that Langfuse takes."""


def title(event: AnyEvent) -> str:
    return f"batch {event.endpoint or event.batch.endpoint or event.provider}"


def trace(event: AnyEvent) -> dict[str, Any]:
    """On every observation, as Langfuse's own SDK repeats it."""
    who = event.attribution
    found = {
        names.TRACE_NAME: title(event),
        names.TRACE_USER_ID: who.user and who.user[:_LONGEST],
        names.TRACE_SESSION_ID: who.session and who.session[:_LONGEST],
        names.TRACE_TAGS: who.tags or None,
    }
    about = {**event.metadata, "batch_id": event.batch_id, "account": event.account, "team": who.team, "key": who.key}
    return {
        **{name: value for name, value in found.items() if value},
        **metadata(about, names.TRACE_METADATA),
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
    }


def outcome(event: Outcome) -> dict[str, Any]:
    return {
        "request_counts": plain(event.request_counts),
        "cost": plain(event.cost),
        "times": plain(event.times),
        "notes": list(event.notes) or None,
    }


def metadata(values: Mapping[str, Any], prefix: str = names.OBSERVATION_METADATA) -> dict[str, str]:
    """Each value as JSON, strings too: that is how the server reads what a v5 SDK sends."""
    return {f"{prefix}.{name}": as_json(value) for name, value in values.items() if value is not None}


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
