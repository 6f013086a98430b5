"""`batchmeter batches results`: an ended batch's answers, streamed from its provider to a file or a pipe."""

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchmeter.commands.inert import inert_json
from batchmeter.commands.output import errors
from batchmeter.commands.session import client, run, whole_id

if TYPE_CHECKING:
    from batchmeter.answers.result import Result
    from batchmeter.faces.client import AsyncClient

output_option = click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE.")


@click.command()
@click.argument("batch_id")
@output_option
@click.option("--errors", "only_errors", is_flag=True, help="Only requests that failed, expired or have no answer.")
@click.option("--requests", is_flag=True, help="With each request, in the input's order; requests without answer too.")
@click.option("--jsonl", "form", flag_value="jsonl", default=True, help="The provider's own lines (default).")
@click.option("--csv", "form", flag_value="csv", help="A row a request: custom_id, text, error.")
@click.option(
    "--texts", "form", flag_value="texts", help=r"A line a request: its text; `\` as `\\`, a line's end as `\n`."
)
@click.option("--provider", "account", metavar="ACCOUNT", help="The batch's account, if not known.")
def results(
    batch_id: str, output: Path | None, only_errors: bool, requests: bool, form: str, account: str | None
) -> None:
    """Print the answers of an ended batch, or write them to a file: whole or not at all."""

    async def work() -> None:
        async with client() as opened:
            with written_to(output) as write:
                count = -1 if form == "csv" else 0  # its head is no row
                async for data in _pieces(
                    opened, await whole_id(opened, batch_id), account, requests, only_errors, form
                ):
                    write(data)
                    count += 1
        if output is not None:
            errors().print(f"{count:,} rows in {output}")

    run(work())


@contextlib.contextmanager
def written_to(output: Path | None) -> Generator[Callable[[bytes], object]]:
    """Standard output; or a file that is there when all of it is, and else as it was."""
    if output is None:
        sys.stdout.flush()
        yield _to_terminal if sys.stdout.isatty() else sys.stdout.buffer.write
        sys.stdout.flush()
        return
    part = output.with_name(f"{output.name}.part-{os.getpid()}")
    try:
        with part.open("wb") as file:
            yield file.write
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _to_terminal(data: bytes) -> None:
    click.echo(inert_json(data.decode("utf-8", "replace")), nl=False)


async def _pieces(
    opened: "AsyncClient", batch_id: str, account: str | None, requests: bool, only_errors: bool, form: str
) -> AsyncGenerator[bytes]:
    """One for each row, with the line's end."""
    from batchmeter.answers.result import Result

    if form == "jsonl":
        async for line in opened.batches.iter_lines(batch_id, requests=requests, custom_llm_provider=account):
            read = Result.read(line) if only_errors else None
            if read is None or not read.ok:  # a line that nobody can read is no answer
                yield line.rstrip(b"\r") + b"\n"
        return
    if form == "csv":
        yield _csv_line(["custom_id", "text", "error", *(["request"] if requests else [])])
    async for result in opened.batches.iter_results(batch_id, requests=requests, custom_llm_provider=account):
        if not only_errors or not result.ok:
            yield _csv(result) if form == "csv" else _text(result.message if only_errors else result.text)


def _csv(result: "Result") -> bytes:
    request = [] if result.request is None else [json.dumps(result.request, ensure_ascii=False)]
    return _csv_line([result.custom_id, result.text, result.message, *request])


def _csv_line(cells: list[str | None]) -> bytes:
    from batchmeter.spend.report import csv_cell

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([csv_cell(cell) for cell in cells])
    return text.getvalue().encode("utf-8", "replace")


def _text(text: str | None) -> bytes:
    """Nothing for no text: with requests, line N answers request N."""
    escaped = (text or "").replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
    return escaped.encode("utf-8", "replace") + b"\n"
