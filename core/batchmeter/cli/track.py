"""`batchmeter track`, `adopt` and `stats`: following open batches, taking in those of others, and how long they take."""

import dataclasses
import datetime as dt
import gc
from typing import TYPE_CHECKING

import click

from batchmeter.commands.logs import start_log
from batchmeter.commands.output import as_json, console, duration, instant, millis, print_json, table
from batchmeter.commands.session import client, ledger, run, whole_listed_id

if TYPE_CHECKING:
    from batchmeter.access import Following
    from batchmeter.faces.client import AsyncClient
    from batchmeter.reports.timings import Spread, Timing
    from batchmeter.tracker.poller import Summary


@click.command()
@click.option("--once", is_flag=True, help="Look at what is due now, deliver, and stop.")
@click.option("--metrics-port", type=int, metavar="PORT", help="Answer /health and /metrics here; 0 takes a free port.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address of that port.")
@as_json
def track(once: bool, metrics_port: int | None, metrics_host: str, json_output: bool) -> None:
    """Run a tracker until Ctrl-C. Any number may share one ledger; batches are leased, never followed twice."""

    async def work() -> None:
        async with client() as opened:
            await _tell_of_strangers(opened)
            if once:
                summary = await opened.tracker.once()
                await opened.deliverer.drain(60)
                if json_output:
                    print_json(summary)
                else:
                    click.echo(_in_words(summary), err=True)
                return
            start_log()
            gc.freeze()  # going over all modules again would stop the event loop for 20 ms
            click.echo(f"tracking {opened.ledger.url}; Ctrl-C stops", err=True)
            if metrics_port is None:
                await opened.track()
            else:
                await _track_seen(opened, metrics_host, metrics_port)

    run(work())


def _in_words(work: "Summary") -> str:
    text = f"open batches looked at: {work.looked:,}; settled: {work.settled:,}; not readable yet: {work.put_off:,}"
    return f"{text}; errors: {work.errors:,}"


async def _track_seen(opened: "AsyncClient", host: str, port: int) -> None:
    from batchmeter.errors import UsageError

    from .track_port import health_port

    try:
        async with health_port(opened, host, port) as listening:
            click.echo(f"metrics at http://{host}:{listening}/metrics", err=True)
            await opened.track()
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another port") from error


async def _tell_of_strangers(opened: "AsyncClient") -> None:
    """Nobody would notice that their batches wait."""
    from batchmeter.access import Access

    known = set(opened.accounts.names())
    async with ledger() as looked_at:
        strangers = [one for one in await Access(looked_at).following() if one.account not in known]
    if strangers:
        named = ", ".join(f"{one.account} ({one.open:,} open)" for one in strangers)
        click.echo(f"not followed here, for want of an [accounts.NAME] section: {named}", err=True)


@click.command()
@click.argument("batch_ids", nargs=-1)
@click.option("--account", "--provider", "account", metavar="ACCOUNT", required=True, help="Whose batches.")
@click.option("--since", metavar="TIME", help="Only those created since this UTC time; default: all it lists.")
@as_json
def adopt(batch_ids: tuple[str, ...], account: str, since: str | None, json_output: bool) -> None:
    """Track batches that scripts, notebooks or other gateways made: these, or all that the account lists.

    A tracker (`batchmeter track`) follows and meters them; `adopt = true` in the account's section does this for ever.
    """
    at = millis(since)
    floor = None if at is None else dt.datetime.fromtimestamp(at / 1000, dt.UTC)

    async def work() -> int:
        async with client() as opened:
            if batch_ids:
                return sum([await _adopt(opened, account, batch_id) for batch_id in batch_ids])
            from batchmeter.rounds.adoption import adopt_all

            return await adopt_all(opened.tracker, opened.accounts.get(account), since=floor)

    adopted = run(work())
    if json_output:
        print_json({"account": account, "adopted": adopted})
    else:
        console().print(f"{adopted:,} batches of {account} are tracked now that were not before")


async def _adopt(opened: "AsyncClient", account: str, batch_id: str) -> bool:
    """By its whole id; the account's list is asked only where there is no batch of that id, which may be cut."""
    from batchmeter.errors import BadRequestError, NotFoundError
    from batchmeter.rounds.adoption import adopt_id

    try:
        return await adopt_id(opened.tracker, account, batch_id)
    except (BadRequestError, NotFoundError):
        whole = await whole_listed_id(opened, batch_id, account)
        if whole == batch_id:
            raise
        return await adopt_id(opened.tracker, account, whole)


@click.command()
@click.option("--since", metavar="TIME", help="Times of batches settled since this UTC time; default: all.")
@as_json
def stats(since: str | None, json_output: bool) -> None:
    """Open and overdue batches by account; percentiles of queue and run times by model. No provider is asked."""

    async def work() -> "tuple[list[Following], list[Timing]]":
        from batchmeter.access import Access
        from batchmeter.reports.timings import timings

        async with ledger() as opened:
            return await Access(opened).following(), await timings(opened, since=millis(since))

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
