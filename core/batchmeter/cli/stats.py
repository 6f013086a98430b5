"""`batchmeter stats`: what is open at each account, and how long batches wait and run, by model."""

import dataclasses
from typing import TYPE_CHECKING

import click

from .events import millis
from .session import ledger, run
from .show import as_json, console, duration, instant, print_json, table

if TYPE_CHECKING:
    from batchmeter.ledger.check import Following
    from batchmeter.tracker.durations import Spread, Timing


@click.command()
@click.option("--since", metavar="TIME", help="Times of batches settled since this UTC time; default: all.")
@as_json
def stats(since: str | None, json_output: bool) -> None:
    """Open and overdue batches by account; percentiles of queue and run times by model. No provider is asked."""

    async def work() -> "tuple[list[Following], list[Timing]]":
        from batchmeter.ledger.check import following
        from batchmeter.tracker.durations import timings

        async with ledger() as opened:
            return await following(opened), await timings(opened, since=millis(since))

    accounts, models = run(work())
    if json_output:
        print_json(
            {"accounts": list(map(dataclasses.asdict, accounts)), "models": list(map(dataclasses.asdict, models))}
        )
        return
    _show_accounts(accounts)
    _show_models(models)


def _show_accounts(accounts: "list[Following]") -> None:
    if not accounts:
        console().print("no batch is open")
        return
    columns = ("account", "open>", "held>", "overdue>", "failing>", "oldest since")
    numbers = (
        (a.account, *(f"{n:,}" for n in (a.open, a.leased, a.overdue, a.failing)), instant(a.oldest_at / 1000))
        for a in accounts
    )
    table(None, columns, numbers)


def _show_models(models: "list[Timing]") -> None:
    if not models:
        return
    columns = ("account", "model", "batches>", "queued p50/p90/p99>", "ran p50/p90/p99>", "in all p50/p90/p99>")
    rows = ((m.account, m.model, f"{m.batches:,}", _three(m.queue), _three(m.run), _three(m.total)) for m in models)
    table(None, columns, rows)


def _three(spread: "Spread") -> str:
    return " / ".join(duration(value) or "-" for value in (spread.p50, spread.p90, spread.p99))
