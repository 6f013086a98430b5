"""meter, ameter and meter_outputs: files, a stream or a finished batch's pieces -> usage and cost; and reprice."""

import re
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from batchmeter.errors import UsageError
from batchmeter.pricing.groups import Groups, PriceSource
from batchmeter.pricing.price import Kept

from .input_models import InputModels, input_models
from .result import UNKNOWN, Job, Metering, Tally, metered, models_of, price, price_book, usage_of
from .scan import Scanner, filled

if TYPE_CHECKING:
    from batchmeter.events import Outcome
    from batchmeter.providers import OutputFile

CHUNK = 64 * 1024
"""Bytes read at once: larger pieces are no faster."""

SLICE = 256 * 1024
"""Bytes metered at one go off the event loop: about a millisecond."""

_ABOUT_PRICES = frozenset({"unknown_model", "missing_rate", "price_plugin_failed"})
"""Reasons that other prices may end; the others are facts about the lines and stay."""

UNMETERED = "unmetered"
"""Reason of a model's lines in no group, in a settlement that is older than reasons by model."""

_OUTPUTS = re.compile(r"^[^.].*\.(jsonl|ndjson|jsonlines|out)(\.gz)?$")
"""Names of output files in a folder; some vendors' end in `.jsonl.out`."""

Result = TypeVar("Result")
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
    scanner = _scanner(job, many_files=len(pieces) > 1, gate=True)
    for name, piece in pieces:
        scanner.start_file(name)
        _feed(scanner, _chunks(piece))
        scanner.end_file()
    scanner.refuse_without_answers()
    return metered(filled(scanner.tally, job), job)


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
    job = await _to_thread(_job, provider, endpoint, region, model, priced_at, prices)
    if isinstance(source, AsyncIterable):
        reading = _Reading(job, gate=True)
        await reading.pump(None, source)
    else:
        pieces = await _to_thread(_pieces, source)
        reading = _Reading(job, gate=True, many_files=len(pieces) > 1)
        for name, piece in pieces:
            await reading.pump(name, _drawn(_chunks(piece)))
    found = await _to_thread(reading.metered)
    assert found is not None
    return found


async def meter_outputs(files: "Sequence[OutputFile]", job: Job) -> Metering:
    """Meter a finished batch from all its files. What opening or reading them raises is the caller's to handle."""
    job = job if job.prices else replace(job, prices=await _to_thread(price_book))
    found = await _read(files, _Reading(job))
    if found is None and job.input_file is not None:
        async with job.input_file() as content:
            models = await input_models(content.chunks)
        job = replace(job, model=models.only, input_file=None)
        found = await _read(files, _Reading(job, None if models.only else models))
    assert found is not None
    return found


async def _read(files: "Sequence[OutputFile]", reading: "_Reading") -> Metering | None:
    for file in files:
        async with file.open() as content:
            await reading.pump(file.id, content.chunks)
    return await _to_thread(reading.metered)


@dataclass(slots=True)
class _Reading:
    """Scanned off the event loop in bounded slices: a small batch takes one trip to a worker thread, pricing included."""

    job: Job
    models: InputModels | None = None
    gate: bool = False
    many_files: bool = False
    _scanner: Scanner | None = None
    _steps: list[Callable[[Scanner], None]] = field(default_factory=list[Callable[[Scanner], None]])
    _size: int = 0

    async def pump(self, file_id: str | None, chunks: AsyncIterable[bytes]) -> None:
        self._steps.append(partial(Scanner.start_file, name=file_id))
        async for chunk in chunks:
            self._steps.append(partial(_feed, chunks=[chunk]))
            self._size += len(chunk)
            if self._size >= SLICE:
                await _to_thread(self._catch_up)
        self._steps.append(Scanner.end_file)

    def metered(self) -> Metering | None:
        """Metering of the bytes pumped so far; None where they name no model and the input file can be asked."""
        scanner = self._catch_up()
        scanner.refuse_without_answers()
        tally = scanner.tally
        nameless = self.job.input_file is not None and _nameless(tally)
        return None if nameless else metered(filled(tally, self.job), self.job)

    def _catch_up(self) -> Scanner:
        scanner = self._scanner = self._scanner or _scanner(
            self.job, self.models, gate=self.gate, many_files=self.many_files
        )
        for step in self._steps:
            step(scanner)
        self._steps.clear()
        self._size = 0
        return scanner


async def _to_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    import asyncio  # noqa: PLC0415 - a command that meters a file has no use for it

    return await asyncio.to_thread(work, *arguments)


def _feed(scanner: Scanner, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        for start in range(0, len(chunk), CHUNK):
            scanner.feed(chunk[start : start + CHUNK])


def _nameless(tally: Tally) -> bool:
    return any(key.model is None for key in tally.groups) or any(model is None for model, _ in tally.unmetered)


def _scanner(job: Job, models: InputModels | None = None, *, gate: bool = False, many_files: bool = False) -> Scanner:
    source = job.prices
    assert source is not None
    return Scanner(
        job,
        boundaries=source.boundaries,
        models=models.by_id if models else None,
        gate=gate,
        many_files=many_files,
    )


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

    while (chunk := await _to_thread(following)) is not None:
        yield chunk


def reprice(settled: "Outcome", groups: Groups, job: Job) -> Metering:
    """`settled` and its `groups` as the ledger gives them; its counts, usage and notes stay, cost is new."""
    kept = _facts(settled.cost.unknown)
    grouped: Counter[str] = Counter()
    for key, group in groups.items():
        grouped[key.model or UNKNOWN] += group.lines
    lacking = {
        name: _facts(model.unknown) or {UNMETERED: model.lines - grouped[name]}
        for name, model in settled.models.items()
        if model.lines > grouped[name]
    }
    job = replace(job, prices=Kept(job.prices or price_book(), settled.rates))
    priced = price(groups, job, kept, settled.cost.details)
    unpriced = (
        settled.request_counts.unpriced + _about_prices(priced.cost.unknown) - _about_prices(settled.cost.unknown)
    )
    return Metering(
        lines=settled.request_counts.model_copy(update={"unpriced": unpriced}),
        usage=usage_of(groups.values()),
        cost=priced.cost,
        models=models_of(groups, lacking, priced),
        notes=settled.notes,
        rates=priced.rates,
        reported_cost=priced.reported,
        groups=groups,
    )


def _facts(unknown: Mapping[str, int]) -> dict[str, int]:
    return {reason: lines for reason, lines in unknown.items() if reason not in _ABOUT_PRICES}


def _about_prices(unknown: Mapping[str, int]) -> int:
    """Lines. Others may be in no file, and are then not counted among the unpriced ones."""
    return sum(lines for reason, lines in unknown.items() if reason in _ABOUT_PRICES)
