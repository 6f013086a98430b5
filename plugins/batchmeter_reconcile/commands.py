"""`batchmeter reconcile`: compare, list, show."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchmeter.commands import as_json, console, print_json, run, table
from batchmeter.commands.session import settings
from batchmeter.errors import BatchmeterError, UsageError

if TYPE_CHECKING:
    from batchmeter import AsyncClient
    from batchmeter.config import Settings

    from .document import Document
    from .reconciler import Reconciler, Request

DRIFTS, NOT_ASKED = 2, 1
"""Exit codes."""
_QUIET = frozenset({"match"})
_MOST_ROWS = 200


class _Group(click.Group):
    """`reconcile openai --from …` is `reconcile run openai --from …`: a first word that is no command is an account."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or self.commands["run"]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {*self.commands, "-h", "--help"}
        return super().parse_args(ctx, args if args and args[0] in own else ["run", *args])


@click.group(cls=_Group)
def reconcile() -> None:
    """Compare the ledger with the vendor's own usage and costs, or with a bill.

    `batchmeter reconcile openai --from 2026-11-01 --to 2026-11-30` is short for `batchmeter reconcile run …`.
    """


@reconcile.command("run")
@click.argument("names", nargs=-1, metavar="[ACCOUNT]...")
@click.option("--account", "more", multiple=True, metavar="ACCOUNT", help="The same as the argument; repeat.")
@click.option("--from", "since", metavar="DATE", help="First UTC day; default: a week before the last.")
@click.option("--to", "until", metavar="DATE", help="Last UTC day; default: yesterday.")
@click.option(
    "--bill", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Read a bill in place of asking: FOCUS, BigQuery export or AWS CUR, as CSV, JSON or Parquet, gzip or not.",
)  # fmt: skip
@click.option("--source", metavar="NAME", help="The report to ask; default: that of the account's provider.")
@click.option(
    "--by", type=click.Choice(["project", "key"]), default="project", show_default=True,
    help="The parts that the vendor's figures are shown by.",
)  # fmt: skip
@click.option("--tolerance", metavar="PERCENT", help="By which money may differ; a cent always may. Default: 0.5.")
@click.option(
    "--edge-days", type=click.IntRange(0, 31), default=1, show_default=True,
    help="Days more to both sides, so that batches over midnight are whole.",
)  # fmt: skip
@click.option(
    "--untracked", is_flag=True, help="List the vendor's batches that nobody tracks, whatever the figures say."
)
@click.option("--alert", is_flag=True, help="Record an event for each drift, as the daily comparison does.")
@click.option("--all", "whole", is_flag=True, help="Show rows that match, too.")
@click.option("--invented", is_flag=True, help="A sandbox's batches, which nobody pays for.")
@as_json
def compare(
    names: Sequence[str], more: Sequence[str], alert: bool, whole: bool, json_output: bool, **request: Any
) -> None:
    """Ours beside the vendor's; exit code 0 where it agrees or cannot be judged yet, 2 for a drift, 1 for no answer.

    Without an account: every bill of [plugins.reconcile]. Documents are kept: `reconcile list` and `show`.
    """
    question = _request(**request)
    found, failed = run(_compare([*names, *more], question, alert))
    if json_output:
        print_json(found)
    else:
        for one in found:
            show_document(one, whole=whole)
    for name, error in failed:
        click.echo(f"{name} could not be compared: {error}", err=True)
    drifting = any(one["status"] in _drifts() for one in found)
    if drifting or failed:
        raise SystemExit(DRIFTS if drifting else NOT_ASKED)


def _drifts() -> frozenset[str]:
    from .judge import DRIFT

    return frozenset({*DRIFT, "unmatched_items"})


async def _compare(
    names: Sequence[str], request: "Request", alert: bool
) -> "tuple[list[Document], list[tuple[str, BatchmeterError]]]":
    found: list[Document] = []
    failed: list[tuple[str, BatchmeterError]] = []
    async with _plugin() as (reconciler, opened):
        chosen = list(dict.fromkeys(names)) or sorted(reconciler.settings.bills)
        if not chosen:
            raise UsageError(
                "name an account, such as `batchmeter reconcile openai`: no [plugins.reconcile.NAME] is set"
            )
        for name in chosen:
            try:
                found.append(await reconciler.run(name, request, opened))
            except BatchmeterError as error:
                failed.append((name, error))
                continue
            if alert:
                await reconciler.tell(found[-1])
    return found, failed


@asynccontextmanager
async def _plugin() -> "AsyncGenerator[tuple[Reconciler, AsyncClient]]":
    from batchmeter import AsyncClient

    async with AsyncClient(settings=_with_plugin(settings(track=False))) as opened:
        found = opened.plugins.call_hook("open_reconcile")
        if not found:
            raise UsageError("reconciliations are off: [plugins.reconcile] says enabled = false, or BATCHMETER_DISABLE")
        yield found[0][1], opened


def _with_plugin(known: "Settings") -> "Settings":
    """A command asks for the plugin by its name, as a table of settings would."""
    load = known.load if known.load is None else (*known.load, "reconcile")
    return known.model_copy(update={"plugins": {"reconcile": {}, **known.plugins}, "load": load})


def _request(since: str | None, until: str | None, tolerance: str | None, **more: Any) -> "Request":
    from datetime import UTC, datetime

    from .reconciler import Request

    last = _date(until, "--to") if until else (datetime.now(UTC).date() - timedelta(days=1))
    first = _date(since, "--from") if since else last - timedelta(days=6)
    made = Request(first, last, tolerance=None if tolerance is None else _percent(tolerance), **more)
    made.check()
    return made


def _date(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a date: write 2026-11-22") from None


def _percent(text: str) -> Decimal:
    try:
        found = Decimal(text.strip().removesuffix("%").strip())
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not 0 <= found <= 100:  # noqa: PLR2004 - percent
        raise UsageError(f"--tolerance {text!r} is no percentage: write 0.5%")
    return found


@reconcile.command("list")
@click.option("--account", metavar="ACCOUNT", help="Only this bill's.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@as_json
def listed(account: str | None, limit: int, json_output: bool) -> None:
    """Reconciliations that were made, newest first."""

    async def work() -> list[dict[str, Any]]:
        async with _plugin() as (reconciler, _):
            return await reconciler.listed(account, limit)

    found = run(work())
    if json_output:
        print_json(found)
        return
    if not found:
        console().print("no comparison yet: batchmeter reconcile ACCOUNT makes one")
        return
    columns = ("id!", "account", "from", "to", "status", "drift (USD)>", "source", "made at")
    names = ("id", "account", "from", "to", "status", "drift_usd", "source", "made_at")
    table(None, columns, [tuple(one[name] for name in names) for one in found])


@reconcile.command()
@click.argument("reconciliation")
@click.option("--all", "whole", is_flag=True, help="Show rows that match, too.")
@as_json
def show(reconciliation: str, whole: bool, json_output: bool) -> None:
    """One RECONCILIATION, as it was made."""

    async def work() -> "Document":
        async with _plugin() as (reconciler, _):
            return await reconciler.shown(reconciliation)

    found = run(work())
    print_json(found) if json_output else show_document(found, whole=whole)


def show_document(found: "Document", *, whole: bool) -> None:
    """The rows that need a look, the steps that help, and the rest in numbers."""
    counts = ", ".join(f"{number:,} {status}" for status, number in found["statuses"].items()) or "no batches"
    console().print(f"{found['account']}, {found['from']} to {found['to']}, by {found['source']}: {found['status']}")
    console().print(f"{counts}; drift ${found['drift_usd']}; {found['id']}")
    rows = [row for row in found["rows"] if whole or row["status"] not in _QUIET]
    if rows:
        columns = ("days", "model", "kind", "status", "ours>", "vendor>", "ours USD>", "vendor USD>")
        table(None, columns, [_row(row) for row in rows[:_MOST_ROWS]])
    if len(rows) > _MOST_ROWS:
        console().print(f"… and {len(rows) - _MOST_ROWS:,} rows more: --json has all")
    for text in dict.fromkeys(_step(row) for row in rows if row.get("why")):
        console().print(text, soft_wrap=True)
    _rest(found)


def _row(row: "Document") -> tuple[object, ...]:
    days = row["from"] if row["from"] == row["to"] else f"{row['from']} to {row['to']}"
    vendor = "?" if row["vendor"] is None else f"{Decimal(row['vendor']):,f}"
    ours = f"{row['ours']:,}" if "at_least" not in row else f"{row['at_least']:,} to {row['ours']:,}"
    return (
        days,
        row["model"],
        row["kind"],
        row["status"],
        ours,
        vendor,
        row["ours_usd"] or "",
        row["vendor_usd"] or "",
    )


def _step(row: "Document") -> str:
    ids = f" [{', '.join(row['batches'])}]" if row.get("batches") else ""
    after = f" Next: {row['next']}" if row["next"] else ""
    return f"- {row['model']}: {row['why']}{after}{ids}"


def _rest(found: "Document") -> None:
    for one in found["unmatched"]:
        console().print(f"- cannot be read: {one['item']!r}: {one['rows']:,} rows, ${one['usd']}")
    if found["untracked"]:
        columns = ("untracked batch!", "account", "status", "created", "requests>")
        names = ("batch_id", "account", "status", "created_at", "requests")
        table(None, columns, [tuple(one[name] for name in names) for one in found["untracked"]])
        for one in found["untracked"]:
            console().print(one["adopt"], soft_wrap=True)
    elif found["untracked"] is not None:
        console().print("- every batch that the vendor lists for these days is tracked")
    other = found["other_traffic"]
    if other["rows"]:
        console().print(f"- other traffic than batches: {other['rows']:,} rows, ${other['usd']}, not compared")
    for note in found["notes"]:
        console().print(f"- {note}", soft_wrap=True)
