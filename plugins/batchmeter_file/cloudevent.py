"""An event as a CloudEvents 1.0 JSON line, and back."""

import json
from typing import Any, cast
from urllib.parse import quote

from batchmeter.events import EVENT, BatchCreated, BatchFailed, BatchSucceeded, Event

_PREFIX, _VERSION = "dev.batchmeter.", ".v1"


def to_line(event: Event) -> bytes:
    """The same bytes for the same event, today and on any redelivery; ends with a newline."""
    body = event.model_dump_json()
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/batchmeter/{quote(event.provider, safe='')}/{quote(event.account, safe='')}",
        "type": f"{_PREFIX}{event.type}{_VERSION}",
        "subject": event.batch_id,
        "time": event.model_dump(mode="json", include={"time"})["time"],
        "datacontenttype": "application/json",
    }
    if event.traceparent:
        envelope["traceparent"] = event.traceparent
    head = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
    return f'{head[:-1]},"data":{body}}}\n'.encode()


def from_line(line: bytes) -> BatchCreated | BatchSucceeded | BatchFailed:
    """The event of one line; ValueError when it is torn or is not one of ours."""
    loaded: object = json.loads(line)
    if not isinstance(loaded, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one error for every kind of bad line
    return EVENT.validate_json(json.dumps(cast("dict[str, Any]", loaded).get("data")))
