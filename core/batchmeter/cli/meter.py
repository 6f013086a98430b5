"""`batchmeter meter FILE…`: usage and cost of a job's output files, with no provider, key or ledger."""

import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchmeter.commands.output import as_json, console, cost_table, print_json
from batchmeter.commands.session import settings
from batchmeter.errors import NotAnOutputError

if TYPE_CHECKING:
    from batchmeter.metering import Metering

CHUNK = 1 << 16


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--provider", default="openai", show_default=True, help="Whose rows and prices these are.")
@click.option("--endpoint", help="Such as /v1/embeddings; needed only where lines do not tell.")
@click.option("--model", help="The job's model, where lines carry none.")
@click.option("--priced-at", metavar="DATE", help="Prices of this UTC date (YYYY-MM-DD); default: today.")
@click.option("--region", help="global, us-central1, data-zone-eu, eu, …")
@click.option("--prices", "prices_file", metavar="FILE", help="Your own rows, as [prices] in batchmeter.toml.")
@as_json
def meter(
    files: tuple[Path, ...],
    provider: str,
    endpoint: str | None,
    model: str | None,
    priced_at: str | None,
    region: str | None,
    prices_file: str | None,
    json_output: bool,
) -> None:
    """Count and price every answer in FILEs of one job: output, errors, shards, a manifest, or a folder of them.

    A row that is in several of them counts once. `-` reads standard input.
    """
    from batchmeter.faces.meter import meter as measure
    from batchmeter.pricebook.book import PriceBook
    from batchmeter.reports.price_list import check_region

    book = PriceBook.load(prices_file if prices_file is not None else settings().prices or None)
    check_region(book, provider, region)
    source = _standard_input() if [str(file) for file in files] == ["-"] else [_existing(file) for file in files]
    metering = measure(
        source,
        provider=provider,
        endpoint=endpoint,
        region=region,
        model=model,
        priced_at=_date(priced_at),
        prices=book,
    )
    _refuse_without_answers(metering, files)
    if json_output:
        print_json(metering)
    else:
        cost_table(metering.models, metering.usage, metering.cost, metering.lines)
        _remarks(metering, named=len(files) > 1 or any(file.is_dir() for file in files))


def _refuse_without_answers(metering: "Metering", files: tuple[Path, ...]) -> None:
    """Nothing was seen, and no sum of nothing is a cost."""
    lines, names = metering.lines, ", ".join(map(str, files))
    if not lines.total:
        raise NotAnOutputError(f"{names}: empty, no line to meter: a batch without answers has an error file, if any")
    if lines.malformed == lines.total:
        bad = metering.malformed_lines[0]
        raise NotAnOutputError(
            f"{names}: not output: none of {lines.total:,} lines is an answer (line {bad.line}: {bad.reason}: {bad.sample})"
        )


def _remarks(metering: "Metering", *, named: bool) -> None:
    """Failures, unreadable lines (with their file, if `named`), and notes."""
    out = console()
    for code, lines in metering.failures.items():
        out.print(f"failed: {code}: {lines:,} line{'' if lines == 1 else 's'}")
    for bad in metering.malformed_lines:
        where = f"{bad.file} line {bad.line}" if named else f"line {bad.line}"
        out.print(f"malformed: {where}: {bad.reason}: {bad.sample}")
    for note in metering.notes:
        out.print(f"note: {note}")


def _existing(file: Path) -> Path:
    if not file.exists():
        raise click.UsageError(f"no such file: {file}")
    return file


def _standard_input() -> Iterator[bytes]:
    while chunk := sys.stdin.buffer.read(CHUNK):
        yield chunk


def _date(text: str | None) -> dt.date | None:
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--priced-at {text!r} is not a date: write YYYY-MM-DD") from None
