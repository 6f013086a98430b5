"""meter, ameter and meter_outputs: a file, a stream or a finished batch's pieces -> usage and cost."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, cast

from batchmeter.errors import UsageError
from batchmeter.pricing.groups import PriceSource
from batchmeter.providers import OutputFile

from .manifest import filled
from .naming import InputModels, input_models
from .result import Metering, metered, price_book
from .scan import Scanner
from .tally import Job, Tally

CHUNK = 64 * 1024
"""Bytes read at once: larger pieces are no faster."""

SLICE = 256 * 1024
"""Bytes metered at one go off the event loop: about a millisecond."""

Prices = PriceSource | Mapping[str, Any] | str | PathLike[str]


def meter(
    source: str | PathLike[str] | Iterable[bytes],
    *,
    provider: str = "openai",
    endpoint: str | None = None,
    region: str | None = None,
    model: str | None = None,
    priced_at: date | str | None = None,
    prices: Prices | None = None,
) -> Metering:
    """Meter one output file: a path, or its bytes in chunks of any size.

    `model` is the job's, for lines that name none. `prices` are rows of your own: a file, or a mapping of its shape.
    """
    job = _job(provider, endpoint, region, model, priced_at, prices)
    scanner = _scanner(job)
    named = str(source) if isinstance(source, str | PathLike) else None
    scanner.start_file(named)
    _feed(scanner, _chunks(source), last=True)
    return metered(filled(scanner.tally, job), job)


async def ameter(
    source: AsyncIterable[bytes] | str | PathLike[str] | Iterable[bytes],
    *,
    provider: str = "openai",
    endpoint: str | None = None,
    region: str | None = None,
    model: str | None = None,
    priced_at: date | str | None = None,
    prices: Prices | None = None,
) -> Metering:
    """As `meter`, for async iterators too; the event loop stays free."""
    job = await asyncio.to_thread(_job, provider, endpoint, region, model, priced_at, prices)
    reading = _Reading(job)
    name = str(source) if isinstance(source, str | PathLike) else None
    await reading.pump(name, source if isinstance(source, AsyncIterable) else _drawn(_chunks(source)))
    found = await asyncio.to_thread(reading.metered)
    assert found is not None
    return found


async def meter_outputs(files: Sequence[OutputFile], job: Job) -> Metering:
    """Meter a finished batch from all its files. What opening or reading them raises is the caller's to handle."""
    job = job if job.prices else replace(job, prices=await asyncio.to_thread(price_book))
    found = await _read(files, _Reading(job))
    if found is None and job.input_file is not None:
        async with job.input_file() as content:
            models = await input_models(content.chunks)
        job = replace(job, model=models.only, input_file=None)
        found = await _read(files, _Reading(job, None if models.only else models))
    assert found is not None
    return found


async def _read(files: Sequence[OutputFile], reading: "_Reading") -> Metering | None:
    for file in files:
        async with file.open() as content:
            await reading.pump(file.id, content.chunks)
    return await asyncio.to_thread(reading.metered)


@dataclass(slots=True)
class _Reading:
    """Scanned off the event loop in bounded slices: a small batch takes one trip to a worker thread, pricing included."""

    job: Job
    models: InputModels | None = None
    _scanner: Scanner | None = None
    _steps: list[Callable[[Scanner], None]] = field(default_factory=list[Callable[[Scanner], None]])
    _size: int = 0

    async def pump(self, file_id: str | None, chunks: AsyncIterable[bytes]) -> None:
        self._steps.append(partial(Scanner.start_file, name=file_id))
        async for chunk in chunks:
            self._steps.append(partial(_feed, chunks=[chunk]))
            self._size += len(chunk)
            if self._size >= SLICE:
                await asyncio.to_thread(self._catch_up)
        self._steps.append(Scanner.end_file)

    def metered(self) -> Metering | None:
        """Of what was pumped; None where it names no model and the input file can be asked."""
        tally = self._catch_up().tally
        asked = self.job.input_file is not None and _nameless(tally)
        return None if asked else metered(filled(tally, self.job), self.job)

    def _catch_up(self) -> Scanner:
        scanner = self._scanner = self._scanner or _scanner(self.job, self.models)
        for step in self._steps:
            step(scanner)
        self._steps.clear()
        self._size = 0
        return scanner


def _feed(scanner: Scanner, chunks: Iterable[bytes], *, last: bool = False) -> None:
    for chunk in chunks:
        for start in range(0, len(chunk), CHUNK):
            scanner.feed(chunk[start : start + CHUNK])
    if last:
        scanner.end_file()


def _nameless(tally: Tally) -> bool:
    return any(key.model is None for key in tally.groups) or any(model is None for model, _ in tally.unmetered)


def _scanner(job: Job, models: InputModels | None = None) -> Scanner:
    source = job.prices
    assert source is not None
    return Scanner(job, boundaries=source.boundaries, models=models.by_id if models else None)


def _job(
    provider: str,
    endpoint: str | None,
    region: str | None,
    model: str | None,
    priced_at: date | str | None,
    prices: Prices | None,
) -> Job:
    at = _date(priced_at) if isinstance(priced_at, str) else priced_at
    return Job(provider=provider, endpoint=endpoint, region=region, model=model, priced_at=at, prices=_source(prices))


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"priced_at={text!r} is not a date: write YYYY-MM-DD") from None


def _source(prices: Prices | None) -> PriceSource:
    if isinstance(prices, str | PathLike):
        return price_book(Path(prices))
    return price_book(prices) if prices is None or isinstance(prices, Mapping) else prices


def _chunks(source: Any) -> Iterator[bytes]:
    if not isinstance(source, str | PathLike):
        yield from ([source] if isinstance(source, bytes) else source)
        return
    with Path(cast("str", source)).open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk


async def _drawn(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A blocking source, read off the event loop."""
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk
