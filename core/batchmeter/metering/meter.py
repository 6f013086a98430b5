"""Meters a finished batch: its files in, its usage and cost out, without blocking the event loop."""

from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import replace
from operator import methodcaller
from typing import TYPE_CHECKING, Any, TypeVar

from .input_models import input_models
from .result import Job, Metering, metered
from .scan import Scanner

if TYPE_CHECKING:
    from batchmeter.providers import OutputFile

SLICE = 256 * 1024
"""Bytes metered at one go off the event loop: about a millisecond."""

Result = TypeVar("Result")


async def meter_outputs(files: "Sequence[OutputFile]", job: Job) -> Metering:
    """Meter a finished batch from all its files. What opening or reading them raises is the caller's to handle."""
    found = await _metered(files, job)
    if found is None and job.input_file is not None:
        async with job.input_file() as content:
            models = await input_models(content.chunks)
        job = replace(job, model=models.only, models=models.by_id, input_file=None)
        found = await _metered(files, job)
    assert found is not None
    return found


async def _metered(files: "Sequence[OutputFile]", job: Job) -> Metering | None:
    """None where some lines name no model and the input file can be asked."""

    def finished() -> Metering | None:
        tally = reading.scanner().tally
        return metered(tally, job) if job.input_file is None or not tally.is_nameless() else None

    reading = Reading(lambda: Scanner(job))
    for file in files:
        async with file.open() as content:
            await reading.pump(file.id, content.chunks)
    return await to_thread(finished)


class Reading:
    """A scan off the event loop in bounded slices: a small batch takes one trip to a worker thread, pricing included."""

    def __init__(self, make: Callable[[], Scanner]) -> None:
        self._make = make
        self._scanner: Scanner | None = None
        self._steps: list[Callable[[Scanner], None]] = []
        self._size = 0

    async def pump(self, file_id: str | None, chunks: AsyncIterable[bytes]) -> None:
        """Read one more file into the scan."""
        self._steps.append(methodcaller("start_file", file_id))
        async for chunk in chunks:
            self._steps.append(methodcaller("feed", chunk))
            self._size += len(chunk)
            if self._size >= SLICE:
                await to_thread(self.scanner)
        self._steps.append(methodcaller("end_file"))

    def scanner(self) -> Scanner:
        """The scanner after all that was pumped so far. It blocks."""
        scanner = self._scanner = self._scanner or self._make()
        for step in self._steps:
            step(scanner)
        self._steps.clear()
        self._size = 0
        return scanner


async def to_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    import asyncio  # noqa: PLC0415 - a command that meters a file has no use for it

    return await asyncio.to_thread(work, *arguments)
