"""A model invocation job in OpenAI's words: status, times, counts, files, metadata. Tables and pure functions."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

import msgspec

from batchmeter.models import Batch, BatchError, BatchErrors, RequestCounts
from batchmeter_translate.endpoints import CHAT, EMBEDDINGS
from batchmeter_translate.shape import Json, mapping, modelled, whole

from .families import family_of
from .names import Blob, View, foundation

STATUS = {
    "Submitted": "validating",
    "Validating": "validating",
    "Scheduled": "in_progress",
    "InProgress": "in_progress",
    "Completed": "completed",
    "PartiallyCompleted": "completed",
    "Failed": "failed",
    "Stopping": "cancelling",
    "Stopped": "cancelled",
    "Expired": "expired",
}
"""PartiallyCompleted: some records ran out of time, and have no answers. Expired: the job never began."""
_END_FIELD = {
    "completed": "completed_at",
    "failed": "failed_at",
    "expired": "expired_at",
    "cancelled": "cancelled_at",
}
TAG = "batchmeter_id"
_TAGS = re.compile(TAG + "(?:_([0-9]{1,9}))?")
_TOKEN = re.compile(r"[a-zA-Z0-9]{1,256}(-*[a-zA-Z0-9]){0,256}")
_NAMED = "batchmeter-"
_META = "m-"
_MOST_META = 400
"""Characters of metadata in a folder's name: a URI has 1,024 at most."""


def batch_of(job: Json, *, input_file_id: str | None, native: bool, counts: RequestCounts | None = None) -> Batch:
    """A job as Bedrock shows it -> a batch. `native`: failed rows are in the output, there is no error file. `counts`: of
    its manifest, where the job tells none."""
    word = str(job.get("status") or "Submitted")
    status = STATUS.get(word, word.lower())
    number = str(job.get("jobArn") or "").rsplit("/", 1)[-1]
    model = str(job.get("modelId") or "")
    counted = counts_of(job) or counts
    output, error = _views(number, status, counted, native=native)
    ended = {_END_FIELD[status]: job.get("endTime") or job.get("lastModifiedTime")} if status in _END_FIELD else {}
    return modelled(
        Batch,
        id=number,
        endpoint=endpoint_of(model),
        model=model or None,
        errors=_errors(job, status),
        input_file_id=input_file_id,
        completion_window=f"{whole(job.get('timeoutDurationInHours')) or 24}h",
        status=status,
        vendor_status=word,
        output_file_id=output,
        error_file_id=error,
        created_at=job.get("submitTime"),
        expires_at=job.get("jobExpirationTime"),
        cancelling_at=job.get("lastModifiedTime") if status == "cancelling" else None,
        request_counts=counted,
        metadata=metadata_of(job) or None,
        **ended,
    )


def counts_of(job: Json) -> RequestCounts | None:
    """None where the job tells none: counters are newer than the API."""
    if job.get("totalRecordCount") is None:
        return None
    return RequestCounts(
        total=whole(job.get("totalRecordCount")),
        completed=whole(job.get("successRecordCount")),
        failed=whole(job.get("errorRecordCount")),
    )


def endpoint_of(model: str) -> str:
    family = family_of(foundation(model))
    return family.endpoint if family is not None else EMBEDDINGS if "embed" in model else CHAT


def input_uri(job: Json) -> str | None:
    found = mapping(mapping(job.get("inputDataConfig")).get("s3InputDataConfig")).get("s3Uri")
    return str(found) if found else None


def output_folder(job: Json) -> Blob | None:
    """The folder of the job's answers, below the one that it was given."""
    found = mapping(mapping(job.get("outputDataConfig")).get("s3OutputDataConfig")).get("s3Uri")
    number = str(job.get("jobArn") or "").rsplit("/", 1)[-1]
    return Blob.of_uri(f"{str(found).rstrip('/')}/{number}/") if found and number else None


def token_of(metadata: Mapping[str, str]) -> str | None:
    """The create's own tag, which Bedrock keeps as the job's clientRequestToken: of several the last."""
    tags = {int(match[1] or 1): text for name, text in metadata.items() if (match := _TAGS.fullmatch(name))}
    token = tags[max(tags)] if tags else ""
    return token if _TOKEN.fullmatch(token) else None


def job_name(token: str) -> str:
    return f"{_NAMED}{token}"[:63].rstrip("-")


def folder_for(metadata: Mapping[str, str]) -> str:
    """Metadata as a folder's name, which a list of jobs shows, as far as that can hold it: the ledger has the whole of it."""
    held: dict[str, str] = {}
    for name, text in sorted(metadata.items(), key=lambda item: _TAGS.fullmatch(item[0]) is None):
        if len(_coded({**held, name: text})) <= _MOST_META:
            held[name] = text
    return _coded(held) if held else ""


def metadata_of(job: Json) -> dict[str, str]:
    """The metadata in the name of the output's folder; of a job that only its token tells of, that."""
    folder = str(mapping(mapping(job.get("outputDataConfig")).get("s3OutputDataConfig")).get("s3Uri") or "")
    for part in folder.split("/"):
        if part.startswith(_META) and (found := _decoded(part)):
            return found
    token = str(job.get("clientRequestToken") or "")
    ours = token and str(job.get("jobName") or "") == job_name(token)
    return {TAG: token} if ours else {}


def _coded(metadata: Mapping[str, str]) -> str:
    """Base64 in characters that an S3 URI of a job may have: neither `=`, `+` nor `_` at risk."""
    return _META + urlsafe_b64encode(msgspec.json.encode(metadata)).decode().rstrip("=")


def _decoded(part: str) -> dict[str, str]:
    coded = part.removeprefix(_META)
    try:
        found: object = msgspec.json.decode(urlsafe_b64decode(coded + "=" * (-len(coded) % 4)))
    except (ValueError, msgspec.MsgspecError):
        return {}
    return {name: text for name, text in mapping(found).items() if isinstance(text, str)}


def _views(job: str, status: str, counts: RequestCounts | None, *, native: bool) -> tuple[str | None, str | None]:
    """A view is offered when the counters say that it has lines, or when they say nothing of a job that has answered."""
    if status not in _END_FIELD or not job:
        return None, None
    output, error = View("output", job).id, View("error", job).id
    if counts is None:
        answered = status in ("completed", "cancelled")
        return output if answered else None, error if answered and not native else None
    if native:
        return output if counts.completed + counts.failed else None, None
    return output if counts.completed else None, error if counts.failed else None


def _errors(job: Json, status: str) -> BatchErrors | None:
    message = str(job.get("message") or "")
    if status != "failed" or not message:
        return None
    return BatchErrors(data=[BatchError(code="job_failed", message=message)])
