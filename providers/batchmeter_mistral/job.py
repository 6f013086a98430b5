"""Mistral's job as OpenAI's batch, and a batch to create as a job."""

import re
from collections.abc import Mapping
from typing import Any, cast

from batchmeter.errors import APIResponseError, UsageError
from batchmeter.models import Batch
from batchmeter.providers import BatchRequest
from batchmeter_openai.shapes import object_of, read_as, shown

Json = dict[str, Any]
STATUSES = {
    "QUEUED": "validating",
    "RUNNING": "in_progress",
    "SUCCESS": "completed",
    "FAILED": "failed",
    "TIMEOUT_EXCEEDED": "expired",
    "CANCELLATION_REQUESTED": "cancelling",
    "CANCELLED": "cancelled",
}
"""Another word is shown in lower case, and stands for "not ended"."""
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_WINDOW = re.compile("([0-9]{1,6})([hd])")
_LONGEST = 7 * 24 - 1
"""Hours: less than seven days."""
_INLINE = re.compile(r"mistral-inline-(.+)")


def job_of(request: BatchRequest, extra: Mapping[str, Any]) -> Json:
    """The JSON of a create. Without an input file the requests themselves are in `extra` (`requests`)."""
    if not request.input_file_id and "requests" not in extra:
        raise UsageError('mistral: a batch needs an input_file_id, or extra_body={"requests": [{"custom_id", "body"}]}')
    job: Json = {"endpoint": request.endpoint, "timeout_hours": hours_of(request.completion_window)}
    if request.input_file_id:
        job["input_files"] = [request.input_file_id]
    if request.model:
        job["model"] = request.model
    if request.metadata:
        job["metadata"] = dict(request.metadata)
    return job


def hours_of(window: str) -> int:
    """`24h` -> 24; UsageError for what is no time, or more than Mistral allows."""
    found = _WINDOW.fullmatch(window)
    hours = int(found[1]) * (24 if found[2] == "d" else 1) if found else 0
    if not 1 <= hours <= _LONGEST:
        raise UsageError(f"mistral: completion_window is {window!r}; it has to be from 1h to {_LONGEST}h")
    return hours


def batch_of(raw: object) -> Batch:
    """APIResponseError for what is no job."""
    job = object_of(raw, "a job")
    if not isinstance(job.get("id"), str) or not isinstance(job.get("status"), str):
        raise APIResponseError(f"expected a job with its id and status, got {shown(raw)}")
    status = STATUSES.get(job["status"], job["status"].lower())
    inputs = [name for name in _list(job.get("input_files")) if isinstance(name, str)]
    total = job.get("total_requests") or 0
    output = job.get("output_file")
    if not output and not inputs and status in ENDED and job.get("completed_requests"):
        output = inline_id(job["id"])
    known: Json = {
        "object": "batch",
        "status": status,
        "input_file_id": inputs[0] if inputs else None,
        "output_file_id": output,
        "error_file_id": job.get("error_file"),
        "in_progress_at": job.get("started_at"),
        "completed_at": None,
        "errors": {"data": errors} if (errors := _list(job.get("errors"))) else None,
        "request_counts": {
            "total": total,
            "completed": job.get("succeeded_requests") or 0,
            "failed": job.get("failed_requests") or 0,
        }
        if total
        else None,
        "metadata": _texts(job.get("metadata")),
    }
    if status in ENDED:
        known[f"{status}_at"] = job.get("completed_at")
    return read_as(Batch, {**{name: value for name, value in job.items() if name != "outputs"}, **known})


def inline_id(job_id: str) -> str:
    """Answers of an inline job are in the job, no file: this id stands for them."""
    return f"mistral-inline-{job_id}"


def inline_job(file_id: str) -> str | None:
    """The job of such an id."""
    found = _INLINE.fullmatch(file_id)
    return None if found is None else found[1]


def _texts(metadata: object) -> dict[str, str] | None:
    return None if metadata is None else {name: str(value) for name, value in _mapping(metadata).items()}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _mapping(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}
