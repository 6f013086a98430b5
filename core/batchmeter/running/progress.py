"""A progress bar where somebody looks: on a terminal or in a notebook, and nowhere else."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from batchmeter.models import Batch

Update = Callable[[Batch], None]


@contextmanager
def progress(lines: int, *, shown: bool | None) -> Generator[Update | None]:
    """`shown` None: on a terminal or in a notebook. Yields what to call with each look at the batch."""
    from rich.console import Console  # noqa: PLC0415 - 40 ms, and only where a bar may be shown
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter if shown is None else shown):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("submitting", total=lines)

        def update(batch: Batch) -> None:
            counts = batch.request_counts
            done = counts.completed + counts.failed if counts else 0
            bar.update(task, description=f"{batch.id} {batch.status}", completed=done)

        yield update
