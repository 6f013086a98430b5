"""An event as a CloudEvents 1.0 JSON line, and back."""

import json
from typing import Any, cast
from urllib.parse import quote

from batchmeter.events import (
    BATCH_KINDS,
    EVENT,
    AlertEvent,
    BatchCreated,
    BatchFailed,
    BatchSucceeded,
    Event,
    PluginEvent,
    model_of_kind,
)

_PREFIX, _VERSION = "dev.batchmeter.", ".v1"


def to_line(event: Event | AlertEvent) -> bytes:
    """The same bytes for the same event, today and on any redelivery; ends with a newline."""
    body = event.model_dump_json()
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": _source(event),
        "type": f"{_PREFIX}{event.type}{_VERSION}",
        "subject": event.batch_id or event.type,
        "time": event.model_dump(mode="json", include={"time"})["time"],
        "datacontenttype": "application/json",
    }
    if event.traceparent:
        envelope["traceparent"] = event.traceparent
    head = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
    return f'{head[:-1]},"data":{body}}}\n'.encode()


def _source(event: Event | AlertEvent) -> str:
    """An alert that is about no account comes from the ledger."""
    parts = [part for part in (event.provider, event.account) if part]
    return "/".join(["/batchmeter", *(quote(part, safe="") for part in parts)])


def from_line(line: bytes) -> BatchCreated | BatchSucceeded | BatchFailed | PluginEvent:
    """The event of one line; ValueError when it is torn or is not one of ours."""
    loaded: object = json.loads(line)
    if not isinstance(loaded, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one error for every kind of bad line
    data = cast("dict[str, Any]", loaded).get("data")
    kind = cast("dict[str, Any]", data).get("type") if isinstance(data, dict) else None
    if isinstance(kind, str) and kind not in BATCH_KINDS:
        return model_of_kind(kind).model_validate(data)
    return EVENT.validate_json(json.dumps(data))
