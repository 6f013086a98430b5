"""Waiting for one batch on a terminal, and showing what it came to."""

import asyncio
from typing import TYPE_CHECKING

from .output import console, cost_table, duration, errors, print_json

if TYPE_CHECKING:
    from batchmeter.events import Settlement
    from batchmeter.faces.client import AsyncClient
    from batchmeter.models import Batch


async def wait_for(
    client: "AsyncClient", batch_id: str, account: str | None, timeout: float | None = None
) -> "Settlement":
    """With a progress bar of the provider's request counts; on a pipe, one line per status."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shown = errors()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=shown,
        transient=True,
        disable=not shown.is_terminal,
    )
    with bar:
        task = bar.add_task("waiting", total=None)
        last = ""

        def update(batch: "Batch") -> None:
            nonlocal last
            counts = batch.request_counts
            done = counts.completed + counts.failed if counts else 0
            bar.update(task, description=batch.status, completed=done, total=counts.total or None if counts else None)
            if not shown.is_terminal and batch.status != last:
                shown.print(f"{batch.id}: {batch.status}")
            last = batch.status

        try:
            return await client.batches.wait(batch_id, custom_llm_provider=account, timeout=timeout, on_update=update)
        except asyncio.CancelledError:
            shown.print(f"{batch_id} goes on; wait for it again: batchmeter batches wait {batch_id}", soft_wrap=True)
            raise


def show_settlement(settlement: "Settlement", *, json_output: bool = False) -> None:
    if json_output:
        print_json(settlement)
        return
    times = settlement.times
    took = f" in {duration(times.total_seconds)}" if times.total_seconds is not None else ""
    console().print(f"{settlement.batch_id} {settlement.status}{took} at {settlement.account}")
    for error in settlement.batch.errors.data if settlement.batch.errors else ():
        where = f"line {error.line}: " if error.line is not None else ""
        console().print(f"  {where}{error.message} [{error.code}]")
    cost_table(settlement.models, settlement.usage, settlement.cost, settlement.request_counts)
    for note in settlement.notes:
        console().print(f"note: {note}")
