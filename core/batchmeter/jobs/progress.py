"""One progress bar over all batches of a call: on a terminal, or in a notebook."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from batchmeter.models import Batch

Update = Callable[[Batch], object]


@contextmanager
def shown(lines: int, on_update: Update | None = None, *, bar: bool | None) -> Generator[Update | None]:
    """`bar` None: on a terminal or in a notebook. Yields the function to call with each look at a batch."""
    if bar is False:
        yield on_update
        return
    from rich.console import Console  # noqa: PLC0415 - 40 ms, and only where a bar may be shown
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    if bar is None and not (console.is_terminal or console.is_jupyter):
        yield on_update
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as drawn:
        task = drawn.add_task("submitting", total=lines)
        done: dict[str, int] = {}

        def update(batch: Batch) -> None:
            counts = batch.request_counts
            done[batch.id] = counts.completed + counts.failed if counts else 0
            text = f"{batch.id} {batch.status}" if len(done) == 1 else f"{len(done)} batches"
            drawn.update(task, description=text, completed=sum(done.values()))
            if on_update is not None:
                on_update(batch)

        yield update
