"""`batchmeter export`: costs, FOCUS bills, and the columns of the views."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from batchmeter.access import access_of
from batchmeter.commands import as_json, client, console, print_json, run, table
from batchmeter.errors import UsageError

if TYPE_CHECKING:
    from .flat import Grain
    from .focus import FocusOptions
    from .focus_file import Manifest

_SOME_UNKNOWN = 3
"""The exit code of `--strict`."""

_MONTH = click.option("--month", metavar="MONTH", help="A UTC month, such as 2026-11.")
_FROM = click.option("--from", "since", metavar="DATE", help="Settled since this UTC date; default: all.")
_TO = click.option("--to", "until", metavar="DATE", help="Settled by the end of this UTC date.")
_INVENTED = click.option("--invented", is_flag=True, help="A sandbox's batches too, which nobody pays for.")


@click.group()
def export() -> None:
    """Export settled batches: flat files, FOCUS bills; and the views for SQL tools."""


@export.command()
@click.option("--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]), default="csv", show_default=True)
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
    if form == "parquet":
        _check_parquet(output)

    async def work() -> None:
        async with client() as opened:
            rows = flat_rows(await access_of(opened), span, chosen, invented=invented)
            if form == "parquet" and output is not None:
                from .parquet import write_parquet

                await write_parquet(rows, columns_of(chosen), output)
                return
            await _write(as_csv(rows, columns_of(chosen)) if form == "csv" else as_jsonl(rows), output)

    run(work())


def _check_parquet(output: Path | None) -> None:
    from .parquet import check_installed

    check_installed()
    if output is None:
        raise UsageError("--format parquet needs -o FILE: a Parquet file is not written to standard output")


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
@_MONTH
@click.option("--from", "since", metavar="DATE", help="Since this UTC date; default: all.")
@click.option("--to", "until", metavar="DATE", help="By the end of this UTC date.")
@click.option("--version", type=click.Choice(["1.4", "1.2"]), default="1.4", show_default=True)
@click.option("--format", "form", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True)
@click.option("--grain", type=click.Choice(["day", "batch"]), default="day", show_default=True)
@click.option(
    "--day-of", type=click.Choice(["settled", "ended", "created"]), default="settled", show_default=True,
    help="The time of a batch that its charges count for; reports count by settled.",
)  # fmt: skip
@click.option("--account", "accounts", multiple=True, metavar="ACCOUNT", help="Only this one; repeat.")
@click.option("--billing-account", "payers", multiple=True, metavar="ACCOUNT=ID", help="The vendor's id of who pays.")
@click.option(
    "--metadata-tag", "metadata", multiple=True, metavar="KEY", help="A metadata key to tag rows with; repeat."
)
@_INVENTED
@click.option(
    "--corrections-since", "earlier", multiple=True, type=click.Path(path_type=Path, dir_okay=False), metavar="MANIFEST",
    help="Only changes since this export; repeat for earlier corrections.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 3 when some cost is unknown.")
@click.option(
    "-o", "--output", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR"
)
@as_json
def focus(
    month: str | None, since: str | None, until: str | None, payers: tuple[str, ...], metadata: tuple[str, ...],
    earlier: tuple[Path, ...], strict: bool, folder: Path, json_output: bool, **chosen: Any,
) -> None:  # fmt: skip
    """A FOCUS bill that adds up to the ledger's known cost, unknown costs beside it, and a manifest."""
    from .focus import FocusOptions
    from .span import span_of

    pairs = dict(_pair(text) for text in payers)
    options = FocusOptions(span_of(month, since, until), billing_accounts=pairs, metadata_tags=metadata, **chosen)
    if options.form == "parquet":
        _check_parquet(folder)
    manifest = run(_bill(options, folder, earlier))
    if json_output:
        print_json(manifest)
    else:
        names = ", ".join(one["name"] for one in manifest["files"])
        console().print(f"{folder}: {names}: {manifest['rows']:,} rows, ${manifest['billed_cost_usd']}")
    if lines := manifest["unknown"]["lines"]:
        click.echo(
            f"{lines:,} lines have no known cost and are in the unknown file; add prices, then reprice", err=True
        )
    if strict and manifest["unknown"]["rows"]:
        raise SystemExit(_SOME_UNKNOWN)


async def _bill(options: "FocusOptions", folder: Path, earlier: tuple[Path, ...]) -> "Manifest":
    from .focus_file import write_bill, write_corrections

    async with client() as opened:
        access = await access_of(opened)
        if earlier:
            return await write_corrections(access, options, folder, earlier)
        return await write_bill(access, options, folder)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise UsageError(f"--billing-account {text!r}: write ACCOUNT=ID, such as openai=org-123")
    return name, value


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
