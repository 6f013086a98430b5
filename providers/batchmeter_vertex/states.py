"""A batch prediction job in OpenAI's words: states, times, counts, errors, labels. Tables and pure functions."""

import re
from typing import Any

from batchmeter.models import Batch, BatchError, BatchErrors, RequestCounts
from batchmeter_translate import ids
from batchmeter_translate.endpoints import CHAT, EMBEDDINGS
from batchmeter_translate.failures import GRPC
from batchmeter_translate.shape import Json, mapping, modelled, objects, sequence, whole

from .names import View, model_name

STATUS_BY_STATE = {
    "JOB_STATE_QUEUED": "validating",
    "JOB_STATE_PENDING": "validating",
    "JOB_STATE_RUNNING": "in_progress",
    "JOB_STATE_PAUSED": "in_progress",
    "JOB_STATE_UPDATING": "in_progress",
    "JOB_STATE_SUCCEEDED": "completed",
    "JOB_STATE_PARTIALLY_SUCCEEDED": "completed",
    "JOB_STATE_CANCELLING": "cancelling",
    "JOB_STATE_CANCELLED": "cancelled",
    "JOB_STATE_EXPIRED": "expired",
    "JOB_STATE_FAILED": "failed",
}
_END_FIELD = {
    "completed": "completed_at",
    "failed": "failed_at",
    "expired": "expired_at",
    "cancelled": "cancelled_at",
}
ENDPOINT_LABEL = "batchmeter_endpoint"
"""Ours on every job: which OpenAI endpoint its lines were for."""
_ENDPOINTS = {"chat_completions": CHAT, "embeddings": EMBEDDINGS}
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_MAX_LABELS = 64


def batch_from_job(job: Json, *, input_file_id: str | None, native: bool = False) -> Batch:
    """A job as Vertex AI shows it -> a batch; `native`: failed rows are in the output, there is no error file."""
    state = str(job.get("state") or "JOB_STATE_UNSPECIFIED")
    status = STATUS_BY_STATE.get(state, state.removeprefix("JOB_STATE_").lower())
    job_id = str(job.get("name", "")).rsplit("/", 1)[-1]
    ended: Json = {_END_FIELD[status]: job.get("endTime") or job.get("updateTime")} if status in _END_FIELD else {}
    output, error = _views(job, job_id, native=native) if ended else (None, None)
    return modelled(
        Batch,
        id=job_id,
        endpoint=endpoint_of(job),
        model=model_name(str(job.get("model") or "")),
        errors=_errors(job),
        input_file_id=input_file_id,
        completion_window="24h",
        status=status,
        output_file_id=output,
        error_file_id=error,
        created_at=job.get("createTime"),
        in_progress_at=job.get("startTime"),
        cancelling_at=job.get("updateTime") if status == "cancelling" else None,
        request_counts=_counts(mapping(job.get("completionStats"))),
        metadata=metadata_from_labels(mapping(job.get("labels"))),
        **ended,
    )


def endpoint_of(job: Json) -> str:
    """From our label; for a job made elsewhere, from its model."""
    label = mapping(job.get("labels")).get(ENDPOINT_LABEL)
    guess = "embeddings" if "embedding" in str(job.get("model")) else "chat_completions"
    return _ENDPOINTS.get(str(label), _ENDPOINTS[guess])


def input_uri(job: Json) -> str | None:
    """Where the job reads: `gs://…` or `bq://…`."""
    source = mapping(job.get("inputConfig"))
    uris = sequence(mapping(source.get("gcsSource")).get("uris"))
    found = uris[0] if uris else mapping(source.get("bigquerySource")).get("inputUri")
    return None if found is None else str(found)


def output_folder(job: Json) -> str | None:
    """The folder of the answers, ending in a slash, or a `bq://` table; None until the job has one."""
    info = mapping(job.get("outputInfo"))
    if info.get("gcsOutputDirectory"):
        return f"{str(info['gcsOutputDirectory']).rstrip('/')}/"
    table = info.get("bigqueryOutputDataset") or info.get("bigqueryOutputTable")
    return f"bq://{str(table).removeprefix('bq://')}" if table else None


def _views(job: Json, job_id: str, *, native: bool) -> tuple[str | None, str | None]:
    """A view is offered when the counters say it has lines, or when they say nothing."""
    folder = output_folder(job)
    if folder is None or folder.startswith("bq://"):
        return None, None
    output, error = View("output", job_id).id, View("error", job_id).id
    if native:
        return output, None
    stats = mapping(job.get("completionStats"))
    good, bad = whole(stats.get("successfulCount")), whole(stats.get("failedCount"))
    if good <= 0 and bad <= 0:
        return output, error
    return output if good > 0 else None, error if bad > 0 else None


def _counts(stats: Json) -> RequestCounts | None:
    """-1 is Google's word for unknown."""
    if not stats:
        return None
    good, bad, rest = (max(0, whole(stats.get(f"{kind}Count"))) for kind in ("successful", "failed", "incomplete"))
    return RequestCounts(total=good + bad + rest, completed=good, failed=bad)


def _errors(job: Json) -> BatchErrors | None:
    found = [error for error in (mapping(job.get("error")), *objects(job.get("partialFailures"))) if error]
    return BatchErrors(data=[_error(error) for error in found]) if found else None


def _error(error: Json) -> BatchError:
    code = whole(error.get("code"))
    return BatchError(code=GRPC.get(code, f"grpc_{code}"), message=str(error.get("message") or ""))


def labels_for(metadata: dict[str, str], endpoint: str) -> dict[str, str]:
    """Metadata as labels, as far as they can hold it (`[a-z0-9_-]`, 63 long): the ledger keeps the whole of it.

    A value that does not fit as it is goes in encoded (ids.py); a key that does not fit is left out.
    """
    labels = {ENDPOINT_LABEL: next((name for name, url in _ENDPOINTS.items() if url == endpoint), "chat_completions")}
    for key, value in metadata.items():
        held = value if _LABEL_VALUE.fullmatch(value) and not ids.is_encoded(value) else ids.encode(value, ids.LABEL)
        if _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(held) and len(labels) < _MAX_LABELS:
            labels.setdefault(key, held)
    return labels


def metadata_from_labels(labels: dict[str, Any]) -> dict[str, str]:
    return {key: ids.decode(str(value)) for key, value in labels.items() if key != ENDPOINT_LABEL}
