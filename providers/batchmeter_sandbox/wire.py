"""Files and batches as OpenAI writes them."""

from typing import Any

from batchmeter.models import Usage

from .lifecycle import WINDOW, Job, State
from .records import Upload, result_id
from .requests import Requests
from .results import KINDS, Kind, Totals, tally
from .snapshots import snapshot

Json = dict[str, Any]

_TIMES = ("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at")


def page(data: list[Json], *, has_more: bool) -> Json:
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def upload(made: Upload) -> Json:
    return _file(made.id, made.filename, made.purpose, made.bytes, made.created_at, made.expires_at)


def result(job: Job, kind: Kind, size: int, ended_at: float, expires_at: float) -> Json:
    file_id = result_id(job.id, kind)
    return _file(file_id, f"{job.id}_{kind}.jsonl", "batch_output", size, ended_at, expires_at)


def _file(file_id: str, name: str, purpose: str, size: int, created_at: float, expires_at: float | None) -> Json:
    return {
        "id": file_id,
        "object": "file",
        "bytes": size,
        "created_at": int(created_at),
        "expires_at": None if expires_at is None else int(expires_at),
        "filename": name,
        "purpose": purpose,
        "status": "processed",
        "status_details": None,
    }


def batch(job: Job, at: State, requests: Requests | None, totals: Totals | None, named: frozenset[Kind]) -> Json:
    """`requests` once validated, `totals` once ended, `named`: the result files that the batch tells of."""
    ids = {kind: result_id(job.id, kind) if kind in named else None for kind in KINDS}
    problem = requests.problem if requests is not None else None
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": job.endpoint,
        "model": snapshot(requests.model) if requests is not None and requests.model else None,
        "errors": {"object": "list", "data": [problem]} if problem else None,
        "input_file_id": job.input_file_id,
        "completion_window": job.completion_window,
        "status": at.status,
        "output_file_id": ids["output"],
        "error_file_id": ids["error"],
        "created_at": int(job.created_at),
        "expires_at": int(job.created_at) + WINDOW,
        **{name: int(at.times[name]) if name in at.times else None for name in _TIMES},
        "request_counts": tally(0 if requests is None else len(requests), at.share, job.script.fail),
        "usage": _usage(totals.billed) if totals else None,
        "metadata": job.metadata,
    }


def _usage(sums: Usage) -> Json:
    return {
        "input_tokens": sums.input_tokens,
        "input_tokens_details": {"cached_tokens": sums.cached_input_tokens},
        "output_tokens": sums.output_tokens,
        "output_tokens_details": {"reasoning_tokens": sums.reasoning_tokens},
        "total_tokens": sums.total_tokens,
    }
