"""meter and ameter: output files at hand, or a stream of their bytes -> usage and cost."""

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any, cast

from batchmeter.errors import UsageError
from batchmeter.metering.meter import Reading, to_thread
from batchmeter.metering.result import Job, Metering, metered
from batchmeter.pricebook.book import PriceBook, embedded
from batchmeter.pricing.groups import PriceSource

from .not_output import OutputScanner

CHUNK = 64 * 1024
"""Bytes read at once: larger pieces are no faster."""

_OUTPUTS = re.compile(r"^[^.].*\.(jsonl|ndjson|jsonlines|out)(\.gz)?$")
"""Names of output files in a folder; some vendors' end in `.jsonl.out`."""

Source = str | PathLike[str] | Sequence[str | PathLike[str]] | Iterable[bytes]
Prices = PriceSource | Mapping[str, Any] | str | PathLike[str]


def meter(
    source: Source,
    *,
    provider: str = "openai",
    endpoint: str | None = None,
    region: str | None = None,
    model: str | None = None,
    priced_at: date | str | None = None,
    prices: Prices | None = None,
) -> Metering:
    """Meter one job's output: a file, a folder, several of them, or bytes in chunks of any size.

    `model` is the job's, for lines that name none. `prices` are rows of your own: a file, or a mapping of its shape.
    Rows that are in several of the files count once. NotAnOutputError where a file is something else than output.
    """
    job = _job(provider, endpoint, region, model, priced_at, prices)
    pieces = _pieces(source)
    scanner = OutputScanner(job, many_files=len(pieces) > 1)
    for name, piece in pieces:
        scanner.start_file(name)
        for chunk in _chunks(piece):
            scanner.feed(chunk)
        scanner.end_file()
    scanner.finish()
    return metered(scanner.tally, job)


async def ameter(
    source: AsyncIterable[bytes] | Source,
    *,
    provider: str = "openai",
    endpoint: str | None = None,
    region: str | None = None,
    model: str | None = None,
    priced_at: date | str | None = None,
    prices: Prices | None = None,
) -> Metering:
    """As `meter`, for async iterators too; the event loop stays free."""

    def finished() -> Metering:
        scanner = cast("OutputScanner", reading.scanner())
        scanner.finish()
        return metered(scanner.tally, job)

    job = await to_thread(_job, provider, endpoint, region, model, priced_at, prices)
    pieces = [(None, source)] if isinstance(source, AsyncIterable) else await to_thread(_pieces, source)
    reading = Reading(lambda: OutputScanner(job, many_files=len(pieces) > 1))
    for name, piece in pieces:
        is_async = isinstance(piece, AsyncIterable)
        await reading.pump(name, cast("AsyncIterable[bytes]", piece) if is_async else _drawn(_chunks(piece)))
    return await to_thread(finished)


def _job(
    provider: str,
    endpoint: str | None,
    region: str | None,
    model: str | None,
    priced_at: date | str | None,
    prices: Prices | None,
) -> Job:
    if isinstance(priced_at, str):
        try:
            priced_at = date.fromisoformat(priced_at)
        except ValueError:
            raise UsageError(f"priced_at={priced_at!r} is not a date: write YYYY-MM-DD") from None
    if prices is None:
        prices = embedded()
    elif isinstance(prices, str | PathLike | Mapping):
        prices = PriceBook.load(prices if isinstance(prices, Mapping) else Path(prices))
    return Job(provider=provider, endpoint=endpoint, region=region, model=model, priced_at=priced_at, prices=prices)


def _pieces(source: Source) -> list[tuple[str | None, Any]]:
    """Name and content of each file; folders give the output files in them."""
    if isinstance(source, str | PathLike):
        return [(str(path), path) for path in _files(Path(cast("str", source)))]
    if isinstance(source, Sequence) and source and all(isinstance(one, str | PathLike) for one in source):
        paths = [path for one in source for path in _files(Path(cast("str", one)))]
        return [(str(path), path) for path in dict.fromkeys(paths)]
    return [(None, source)]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.rglob("*") if one.is_file() and _OUTPUTS.search(one.name))
    if not found:
        raise UsageError(f"{path}: no file in this folder is named as output is (.jsonl, .ndjson, .jsonl.gz, .out)")
    return found


def _chunks(source: Any) -> Iterator[bytes]:
    if not isinstance(source, str | PathLike):
        yield from ([source] if isinstance(source, bytes) else source)
        return
    with Path(cast("str", source)).open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk


async def _drawn(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A blocking source, read off the event loop."""

    def following() -> bytes | None:
        return next(chunks, None)

    while (chunk := await to_thread(following)) is not None:
        yield chunk
