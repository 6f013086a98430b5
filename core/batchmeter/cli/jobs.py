"""`batchmeter submit` of a file larger than a batch: several batches, one progress bar, one report."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchmeter.commands.output import console, cost, errors, print_json, table

if TYPE_CHECKING:
    from batchmeter.faces.client import AsyncClient
    from batchmeter.inputs import InputSummary
    from batchmeter.jobs.jobs import Job, JobReport
    from batchmeter.models import Batch
    from batchmeter.providers import Provider


def checked_lines(file: Path, endpoint: str | None, provider: "Provider") -> "InputSummary":
    """By the rules of single lines: InvalidInputError where the file is refused for more than its size."""
    from batchmeter.inputs import COMPATIBLE, check_path, limits_of
    from batchmeter.jobs.jobs import boundless

    summary = check_path(file, endpoint, boundless(limits_of(provider) or COMPATIBLE))
    summary.check(str(file))
    return summary


async def submit_job(
    opened: "AsyncClient",
    file: Path,
    endpoint: str,
    order: dict[str, Any],
    wait: bool,
    timeout: float | None,
    json_output: bool,
) -> int:
    """The exit code."""
    named = {name: value for name, value in order.items() if name != "idempotency_key"}
    job = await opened.batches.create_many(file, endpoint, job=order["idempotency_key"], **named)
    if wait:
        report = await _waited(opened, job, timeout)
        _show_report(report, json_output)
        return 0 if report.status == "completed" else 1
    if json_output:
        print_json({"job": job.id, "account": job.account, "batches": [batch.id for batch in job.batches]})
        return 0
    console().print(f"submitted {len(job.ids):,} requests as job {job.id}: {len(job.batches)} batches")
    for batch in job.batches:
        console().print(f"  {batch.id} ({batch.status})")
    console().print(
        f"wait for all of it: the same command with --wait   its cost: batchmeter costs --where tag={job.tag}"
    )
    return 0


async def _waited(opened: "AsyncClient", job: "Job", timeout: float | None) -> "JobReport":
    """With one progress bar over all batches; on a pipe, a line for each status of each."""
    shown = errors()
    last: dict[str, str] = {}

    def update(batch: "Batch") -> None:
        if not shown.is_terminal and last.get(batch.id) != batch.status:
            shown.print(f"{batch.id}: {batch.status}")
        last[batch.id] = batch.status

    try:
        return await opened.batches.wait_many(job, timeout=timeout, on_update=update, progress=shown.is_terminal)
    except asyncio.CancelledError:
        shown.print(f"job {job.id} goes on; the same command waits for it again")
        raise


def _show_report(report: "JobReport", json_output: bool) -> None:
    if json_output:
        print_json({
            "job": report.job.id,
            "status": report.status,
            "request_counts": report.request_counts.model_dump(mode="json"),
            "cost": report.cost.model_dump(mode="json"),
            "settlements": [one.model_dump(mode="json") for one in report.settlements],
        })  # fmt: skip
        return
    rows = [(one.batch_id, one.status, f"{one.request_counts.total:,}", cost(one.cost)) for one in report.settlements]
    total = (f"job {report.job.id}", report.status, f"{report.request_counts.total:,}", cost(report.cost))
    table(None, ("batch", "status", "lines>", "cost (USD)>"), [*rows, total])
