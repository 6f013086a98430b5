"""`batchmeter export`: costs, FOCUS bills, and the columns of the views."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from batchmeter.commands import as_json, client, console, print_json, run, table

if TYPE_CHECKING:
    from .flat import Grain

_MONTH = click.option("--month", metavar="MONTH", help="A UTC month, such as 2026-11.")
_FROM = click.option("--from", "since", metavar="DATE", help="Settled since this UTC date; default: all.")
_TO = click.option("--to", "until", metavar="DATE", help="Settled by the end of this UTC date.")
_INVENTED = click.option("--invented", is_flag=True, help="A sandbox's batches too, which nobody pays for.")


@click.group()
def export() -> None:
    """Export settled batches: flat files, FOCUS bills; and the views for SQL tools."""


@export.command()
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option(
    "--grain", type=click.Choice(["batch", "model", "group"]), default="batch", show_default=True,
    help="A row for each batch, each model of it, or each group of lines that share their rates.",
)  # fmt: skip
@_MONTH
@_FROM
@_TO
@_INVENTED
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Default: standard output.")
def costs(
    form: str, grain: str, month: str | None, since: str | None, until: str | None, invented: bool, output: Path | None
) -> None:
    """Settled batches as flat rows: dimensions, times, tokens, known and total cost, reasons for unknown cost."""
    from .flat import as_csv, as_jsonl, columns_of, flat_rows
    from .span import span_of

    span, chosen = span_of(month, since, until), cast("Grain", grain)

    async def work() -> None:
        async with client() as opened:
            rows = flat_rows(await opened.access(), span, chosen, invented=invented)
            await _write(as_csv(rows, columns_of(chosen)) if form == "csv" else as_jsonl(rows), output)

    run(work())


async def _write(pieces: AsyncIterator[str], output: Path | None) -> None:
    """To a file only whole: under another name until the last piece is written."""
    if output is None:
        async for piece in pieces:
            click.echo(piece, nl=False)
        return
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            async for piece in pieces:
                file.write(piece)
        unfinished.replace(output)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


@export.command()
@as_json
def views(json_output: bool) -> None:
    """The views for SQL tools, column by column; opening a ledger makes them in it."""
    from .columns import VIEWS

    if json_output:
        print_json([_described(view) for view in VIEWS])
        return
    for view in VIEWS:
        console().print(f"{view.name}: a row is {view.row}")
        table(None, ("column", "kind", "meaning"), [(one.name, one.kind, one.meaning) for one in view.columns])


def _described(view: Any) -> dict[str, Any]:
    columns = [{"name": one.name, "kind": one.kind, "meaning": one.meaning} for one in view.columns]
    return {"view": view.name, "row": view.row, "columns": columns}
