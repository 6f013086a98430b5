"""A Message Batch in OpenAI's words: status, times, counts, files. Tables and pure functions."""

import re
from dataclasses import dataclass
from typing import Literal

from batchmeter.models import Batch, RequestCounts
from batchmeter_spool.notes import BatchNote
from batchmeter_translate.shape import Json, mapping, modelled, whole

_RUNNING = {"in_progress": "in_progress", "canceling": "cancelling"}
_END_FIELD = {"completed": "completed_at", "cancelled": "cancelled_at", "expired": "expired_at"}
_COUNTERS = ("processing", "succeeded", "errored", "canceled", "expired")
_VIEW = re.compile(r"anthropic-(output|error)-([0-9A-Za-z_-]+)")
_ID = re.compile(r"[0-9A-Za-z_-]+")


@dataclass(frozen=True, slots=True)
class View:
    """One kind of a batch's results: those that succeeded, or all others."""

    kind: Literal["output", "error"]
    batch: str

    @property
    def id(self) -> str:
        return f"anthropic-{self.kind}-{self.batch}"


def parse_view(file_id: str) -> View | None:
    match = _VIEW.fullmatch(file_id)
    return None if match is None else View("output" if match[1] == "output" else "error", match[2])


def is_batch_id(text: str) -> bool:
    """Whether it is made of characters that may stand in a path."""
    return _ID.fullmatch(text) is not None


def status_of(row: Json) -> str:
    """There is no failed batch: what ends without an answer is cancelled, expired, or completed with errors only."""
    word = str(row.get("processing_status"))
    if word != "ended":
        return _RUNNING.get(word, word)
    counts = counts_of(row)
    if counts["canceled"] and row.get("cancel_initiated_at"):
        return "cancelled"
    return "expired" if counts["expired"] else "completed"


def counts_of(row: Json) -> dict[str, int]:
    found = mapping(row.get("request_counts"))
    return {name: whole(found.get(name)) for name in _COUNTERS}


def total_of(row: Json) -> int:
    return sum(counts_of(row).values())


def batch_of(row: Json, note: BatchNote | None, *, native: bool) -> Batch:
    """The vendor's batch with what its creator noted; `native`: failed rows are in the output, there is no error file."""
    status, batch_id, counts = status_of(row), str(row.get("id") or ""), counts_of(row)
    failed = counts["errored"] + counts["canceled"] + counts["expired"]
    ended = status in _END_FIELD
    output = ended and (counts["succeeded"] > 0 or (native and failed > 0))
    times = {_END_FIELD[status]: row.get("ended_at") or row.get("created_at")} if ended else {}
    known = (
        {}
        if note is None
        else {
            "input_file_id": note.input_file_id,
            "endpoint": note.endpoint,
            "model": note.model,
            "metadata": note.metadata,
        }
    )
    return modelled(
        Batch,
        **{
            "id": batch_id,
            "endpoint": "/v1/messages",
            "completion_window": "24h",
            "status": status,
            "output_file_id": View("output", batch_id).id if output else None,
            "error_file_id": View("error", batch_id).id if ended and failed and not native else None,
            "created_at": row.get("created_at"),
            "in_progress_at": row.get("created_at"),
            "expires_at": row.get("expires_at"),
            "cancelling_at": row.get("cancel_initiated_at"),
            "archived_at": row.get("archived_at"),
            "request_counts": RequestCounts(total=sum(counts.values()), completed=counts["succeeded"], failed=failed),
            **known,
            **times,
        },
    )
