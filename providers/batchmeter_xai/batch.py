"""xAI's batch as OpenAI's: a status from its counters, metadata from its name, no times that it does not tell."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

from batchmeter.errors import APIResponseError
from batchmeter.models import Batch
from batchmeter.providers import BatchRequest
from batchmeter_openai.shapes import object_of, read_as, shown

Json = Mapping[str, Any]
TAG = "batchmeter_id"
"""The metadata key that core puts on a create."""
ENDPOINT = "endpoint"
"""The name's own key for the batch's endpoint, which xAI does not keep: each line has its url."""
LONGEST_NAME = 500
"""Characters; no limit is published."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_VIEW = re.compile(r"xai-(output|error)-(.+)")


def name_of(request: BatchRequest) -> str:
    """A batch keeps nothing of ours but its name: `endpoint=/v1/responses&team=search&batchmeter_id=…`."""
    metadata = dict(request.metadata or {})
    whole = urlencode({ENDPOINT: request.endpoint, **metadata}, safe="/")
    if len(whole) <= LONGEST_NAME:
        return whole
    tag = {TAG: metadata[TAG]} if TAG in metadata else {}
    return urlencode({ENDPOINT: request.endpoint, **tag}, safe="/")


def batch_of(raw: object, today: date) -> Batch:
    """`today` is UTC's: xAI tells when a batch expires by its date."""
    body = object_of(raw, "a batch")
    if not isinstance(body.get("batch_id"), str):
        raise APIResponseError(f"expected a batch with its batch_id, got {shown(raw)}")
    counts = counts_of(body)
    status = status_of(body, counts, today)
    named = dict(parse_qsl(str(body.get("name") or "")))
    endpoint = named.pop(ENDPOINT, None)
    message = body.get("cancel_by_xai_message")
    ended = status in ("completed", "cancelled", "expired")
    failed = counts["num_error"] + counts["num_cancelled"]
    known = {
        "id": body["batch_id"],
        "status": status,
        "endpoint": endpoint,
        "metadata": (named or None) if endpoint else None,
        "output_file_id": view_id("output", body["batch_id"]) if ended and counts["num_success"] else None,
        "error_file_id": view_id("error", body["batch_id"]) if ended and failed else None,
        "errors": {"data": [{"message": str(message)}]} if message else None,
        "request_counts": {"total": counts["num_requests"], "completed": counts["num_success"], "failed": failed}
        if counts["num_requests"]
        else None,
        "created_at": instant(body.get("create_time")),
        "expires_at": instant(body.get("expire_time")),
        f"{status}_at": instant(body.get("cancel_time")) if status in ("cancelled", "failed") else None,
    }
    return read_as(Batch, {**{name: value for name, value in body.items() if name != "batch_id"}, **known})


def counts_of(body: Json) -> dict[str, int]:
    """A missing number counts 0; numbers may be texts."""
    given = _mapping(body.get("state"))
    names = ("num_requests", "num_pending", "num_success", "num_error", "num_cancelled")
    return {name: int(found) if (found := str(given.get(name))).isdecimal() else 0 for name in names}


def _mapping(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def status_of(body: Json, counts: Mapping[str, int], today: date) -> str:
    """There is no status: xAI's own cancel is a failure, no request yet is validation, none pending is the end."""
    if body.get("cancel_time"):
        return "failed" if body.get("cancel_by_xai_message") else "cancelled"
    if not counts["num_requests"]:
        return "validating"
    if not counts["num_pending"]:
        return "completed"
    last = _DAY.match(str(body.get("expire_time") or ""))
    return "expired" if last and last[0] < today.isoformat() else "in_progress"


def instant(text: object) -> int | None:
    """Epoch seconds; None for a bare date, as REST tells it: midnight would be up to a day from the truth."""
    if not isinstance(text, str) or _DAY.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def view_id(kind: str, batch_id: str) -> str:
    """Results are pages of a batch, no file: this id stands for those that answered, or for those that failed."""
    return f"xai-{kind}-{batch_id}"


def view_of(file_id: str) -> tuple[str, str] | None:
    """`output` or `error`, and the batch; None for a file of xAI's own."""
    found = _VIEW.fullmatch(file_id)
    return (found[1], found[2]) if found else None
