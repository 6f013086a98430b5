"""A batch operation in OpenAI's words: states, times, counts, errors, tags. Tables and pure functions."""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from batchmeter.models import Batch, BatchError, BatchErrors, RequestCounts
from batchmeter_translate.endpoints import CHAT, EMBEDDINGS
from batchmeter_translate.failures import GRPC
from batchmeter_translate.shape import Json, is_object, mapping, modelled, objects, whole

STATUS_BY_STATE = {
    "UNSPECIFIED": "validating",
    "PENDING": "validating",
    "QUEUED": "validating",
    "RUNNING": "in_progress",
    "PAUSED": "in_progress",
    "UPDATING": "in_progress",
    "SUCCEEDED": "completed",
    "PARTIALLY_SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELLING": "cancelling",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
"""By the state's end: answers come with `BATCH_STATE_` and with `JOB_STATE_`."""
_PREFIX = re.compile(r"^(?:BATCH|JOB)_STATE_")
_END_FIELD = {
    "completed": "completed_at",
    "failed": "failed_at",
    "expired": "expired_at",
    "cancelled": "cancelled_at",
}
_VIEW = re.compile(r"gemini-(output|error)-([0-9A-Za-z_-]+)")
_ID = re.compile(r"(?:batches/)?([0-9A-Za-z_-]+)")
MOST_NAME = 512
"""Characters of a displayName."""
TAG = "batchmeter_id"


@dataclass(frozen=True, slots=True)
class View:
    """One kind of a batch's answers: those that succeeded, or all others."""

    kind: Literal["output", "error"]
    batch: str

    @property
    def id(self) -> str:
        return f"gemini-{self.kind}-{self.batch}"


def parse_view(file_id: str) -> View | None:
    match = _VIEW.fullmatch(file_id)
    return None if match is None else View("output" if match[1] == "output" else "error", match[2])


def batch_id(name: str) -> str | None:
    """`abc`, from it or from `batches/abc`; None for what is no id."""
    match = _ID.fullmatch(name)
    return None if match is None else match[1]


def status_of(operation: Json) -> str:
    """A state that is left out: the operation itself says whether it is done."""
    done = bool(operation.get("done"))
    if done and operation.get("error"):
        word = _word(operation)
        return STATUS_BY_STATE[word] if word in ("CANCELLED", "EXPIRED") else "failed"
    word = _word(operation)
    if not word:
        return "completed" if done else "in_progress"
    return STATUS_BY_STATE.get(word, word.lower())


def _word(operation: Json) -> str:
    return _PREFIX.sub("", str(mapping(operation.get("metadata")).get("state") or ""))


def batch_of(operation: Json, *, native: bool) -> Batch:
    """`native`: failed rows are in the output, there is no error file."""
    metadata, status = mapping(operation.get("metadata")), status_of(operation)
    name = str(operation.get("name") or metadata.get("name") or "").removeprefix("batches/")
    ended = status in _END_FIELD
    times = {_END_FIELD[status]: metadata.get("endTime") or metadata.get("updateTime")} if ended else {}
    output, error = _views(operation, name, native=native) if ended else (None, None)
    source = str(mapping(metadata.get("inputConfig")).get("fileName") or "")
    return modelled(
        Batch,
        id=name,
        endpoint=endpoint_of(operation),
        model=model_of(operation) or None,
        errors=_errors(mapping(operation.get("error"))),
        input_file_id=source.removeprefix("files/") or None,
        completion_window="24h",
        status=status,
        output_file_id=output,
        error_file_id=error,
        created_at=metadata.get("createTime"),
        cancelling_at=metadata.get("updateTime") if status == "cancelling" else None,
        request_counts=_counts(mapping(metadata.get("batchStats"))),
        metadata=metadata_in(str(metadata.get("displayName") or "")),
        **times,
    )


def model_of(operation: Json) -> str:
    return str(mapping(operation.get("metadata")).get("model") or "").removeprefix("models/")


def endpoint_of(operation: Json) -> str:
    kind = str(mapping(operation.get("metadata")).get("@type") or "")
    return EMBEDDINGS if "EmbedContentBatch" in kind or "embedding" in model_of(operation) else CHAT


def answers_file(operation: Json) -> str | None:
    """The file with the answers, without `files/`."""
    for holder in _outputs(operation):
        if found := holder.get("responsesFile"):
            return str(found).removeprefix("files/")
    return None


def inlined(operation: Json) -> list[Json]:
    """Answers that came in the operation itself, as rows of a file would be."""
    for holder in _outputs(operation):
        rows = objects(mapping(holder.get("inlinedResponses")).get("inlinedResponses"))
        rows = rows or objects(mapping(holder.get("inlinedEmbedContentResponses")).get("inlinedResponses"))
        if rows:
            return [_row(row) for row in rows]
    return []


def _row(inline: Json) -> Json:
    rest = {name: value for name, value in inline.items() if name != "metadata"}
    return {"key": mapping(inline.get("metadata")).get("key"), **rest}


def _outputs(operation: Json) -> tuple[Json, Json]:
    return mapping(mapping(operation.get("metadata")).get("output")), mapping(operation.get("response"))


def _views(operation: Json, name: str, *, native: bool) -> tuple[str | None, str | None]:
    """A view is offered when the counters say that it has lines, or when they say nothing."""
    if answers_file(operation) is None and not inlined(operation):
        return None, None
    output, error = View("output", name).id, View("error", name).id
    if native:
        return output, None
    stats = mapping(mapping(operation.get("metadata")).get("batchStats"))
    good, bad = whole(stats.get("successfulRequestCount")), whole(stats.get("failedRequestCount"))
    if good <= 0 and bad <= 0:
        return output, error
    return output if good > 0 else None, error if bad > 0 else None


def _counts(stats: Json) -> RequestCounts | None:
    """A zero is left out; so is everything of a batch that has not begun."""
    if not stats:
        return None
    good, bad, left = (whole(stats.get(f"{kind}RequestCount")) for kind in ("successful", "failed", "pending"))
    return RequestCounts(total=whole(stats.get("requestCount")) or good + bad + left, completed=good, failed=bad)


def _errors(error: Json) -> BatchErrors | None:
    if not error:
        return None
    code = whole(error.get("code"))
    return BatchErrors(data=[BatchError(code=GRPC.get(code, f"grpc_{code}"), message=str(error.get("message") or ""))])


def name_for(metadata: dict[str, str] | None, otherwise: str) -> str:
    """Metadata as a displayName, all that Gemini keeps of ours: as JSON, whole where it fits, else our tags only."""
    if not metadata:
        return otherwise[:MOST_NAME]
    tags = {key: value for key, value in metadata.items() if key.startswith(TAG)}
    for part in (metadata, tags):
        text = json.dumps(part, ensure_ascii=False, separators=(",", ":"))
        if part and len(text) <= MOST_NAME:
            return text
    return otherwise[:MOST_NAME]


def metadata_in(name: str) -> dict[str, str] | None:
    """None for a name that somebody else gave."""
    try:
        found: Any = json.loads(name)
    except ValueError:
        return None
    if not is_object(found) or not all(isinstance(value, str) for value in found.values()):
        return None
    return found
