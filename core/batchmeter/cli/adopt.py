"""`batchmeter adopt`: batches that were made elsewhere become tracked, metered and logged like our own."""

import datetime as dt

import click

from .events import millis
from .session import client, run
from .show import as_json, console, print_json


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
                return sum([await opened.tracker.adopt(account, batch_id) for batch_id in batch_ids])
            return await opened.tracker.adopt_all(account, since=floor)

    adopted = run(work())
    if json_output:
        print_json({"account": account, "adopted": adopted})
    else:
        console().print(f"{adopted:,} batches of {account} are tracked now that were not before")
