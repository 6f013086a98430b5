"""`batchmeter ledger` and `prune`: check, copy and upgrade the store; forget what is old."""

import dataclasses
import re

import click

from batchmeter.commands.output import as_json, console, errors, print_json, table
from batchmeter.commands.session import ledger as open_ledger
from batchmeter.commands.session import run, settings

_AGE = re.compile("([0-9]{1,15})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


@click.group()
def ledger() -> None:
    """Check, copy or upgrade the ledger."""


@ledger.command()
@as_json
def check(json_output: bool) -> None:
    """Read all of it and test what must hold: one beginning and one ending a batch, nothing stuck; exit code 1 if not."""
    from .ledger_check import Health, check

    async def work() -> Health:
        async with open_ledger(create=False) as opened:
            return await check(opened)

    health = run(work())
    if json_output:
        print_json({**dataclasses.asdict(health), "sound": health.sound})
    else:
        console().print(f"{health.url}, schema version {health.schema_version}")
        table(None, ("table", "rows>"), ((name, f"{rows:,}") for name, rows in health.rows.items()))
        for what, count in health.wrong.items():
            console().print(f"wrong: {count:,} {what}")
        for line in health.damage:
            console().print(f"damaged: {line}")
        for line in health.warnings:
            console().print(f"warning: {line}")
        console().print("sound" if health.sound else "not sound: keep this ledger, and report it with this output")
    click.get_current_context().exit(0 if health.sound else 1)


@ledger.command()
@click.option("--to", "target", required=True, metavar="PATH|URL", help="An empty or new ledger of either engine.")
@as_json
def copy(target: str, json_output: bool) -> None:
    """Copy everything, as it is at one moment, into another ledger, such as SQLite to PostgreSQL."""
    from batchmeter.ledger import open_ledger as another

    from .ledger_copy import Copied, copy_ledger

    shown = errors()

    def progress(name: str, rows: int) -> None:
        if shown.is_terminal:
            shown.print(f"{name}: {rows:,}", end="\r")

    async def work() -> tuple[str, Copied]:
        async with open_ledger(create=False) as opened:
            to = another(target)
            if to.url == ":memory:":
                raise click.UsageError(f"--to {target}: what is in memory is gone when this command ends")
            await to.open()
            try:
                return to.url, await copy_ledger(opened, to, on_progress=progress)
            finally:
                await to.aclose()

    url, copied = run(work())
    if json_output:
        print_json({"to": url, **dataclasses.asdict(copied)})
        return
    table(f"copied to {url}", ("table", "rows>"), ((name, f"{rows:,}") for name, rows in copied.rows.items()))
    if copied.outdated:
        console().print(
            "the ledger was written to meanwhile: the copy is as it was at the start. Before you use it in its place, "
            "stop trackers and the proxy, and copy again into an empty ledger"
        )
        return
    console().print('now point the settings at it: BATCHMETER_LEDGER, or `ledger = "…"` in batchmeter.toml')


@ledger.command()
@as_json
def migrate(json_output: bool) -> None:
    """Upgrade the schema to this release's (any command does); older releases cannot open it afterwards."""

    from batchmeter.access import Access

    async def work() -> tuple[str, int]:
        async with open_ledger() as opened:
            return opened.url, (await Access(opened).stats())["schema_version"]

    url, version = run(work())
    if json_output:
        print_json({"url": url, "schema_version": version})
    else:
        console().print(f"{url} has schema version {version}, this release's")


@ledger.command()
@click.option("--rebuild", is_flag=True, help="Add up everything anew, by the metadata keys of the settings.")
@as_json
def rollup(rebuild: bool, json_output: bool) -> None:
    """Bring the sums that cost reports read up to the last event (trackers and reports do)."""

    from batchmeter.spend.spend import Spend

    async def work() -> tuple[str, int]:
        keys = settings().reports.metadata_keys
        async with open_ledger(create=False) as opened:
            spend = Spend(opened)
            return opened.url, await (spend.rebuild(keys) if rebuild else spend.roll())

    url, added = run(work())
    if json_output:
        print_json({"url": url, "rebuilt": rebuild, "endings": added})
    else:
        console().print(f"{url}: {'rebuilt, ' if rebuild else ''}{added:,} endings added to the sums of costs")


@click.command()
@click.option("--older-than", "age", required=True, metavar="AGE", help="Settled longer ago than this: 90d, 12h, 2w.")
@as_json
def prune(age: str, json_output: bool) -> None:
    """Forget batches settled long ago with their settlements and events; open or undelivered ones stay."""
    found = _AGE.fullmatch(age.strip())
    if found is None:
        raise click.UsageError(f"--older-than {age!r}: write a number and h, d or w: 90d")
    from batchmeter.spend import prune as pruning

    milliseconds = int(found[1]) * _HOURS[found[2]] * 3_600_000

    async def work() -> int:
        async with open_ledger(create=False) as opened:
            return await pruning.prune(opened, settled_before=max(0, opened.now() - milliseconds))

    forgotten = run(work())
    if json_output:
        print_json({"forgotten": forgotten})
    else:
        console().print(f"forgot {forgotten:,} batches")
