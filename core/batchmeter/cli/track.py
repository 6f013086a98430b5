"""`batchmeter track`: follow every open batch in the ledger to its end, and deliver its events."""

import gc

import click

from batchmeter.client import AsyncClient

from .session import client, ledger, run
from .show import as_json, print_json


@click.command()
@click.option("--once", is_flag=True, help="Look at what is due now, deliver, and stop.")
@as_json
def track(once: bool, json_output: bool) -> None:
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
                    click.echo(summary, err=True)
                return
            gc.freeze()  # going over all modules again would stop the event loop for 20 ms
            click.echo(f"tracking {opened.ledger.url}; Ctrl-C stops", err=True)
            await opened.track()

    run(work())


async def _tell_of_strangers(opened: AsyncClient) -> None:
    """Nobody would notice that their batches wait."""
    from batchmeter.ledger.check import following

    known = set(opened.accounts.names())
    async with ledger() as looked_at:
        strangers = [one for one in await following(looked_at) if one.account not in known]
    if strangers:
        named = ", ".join(f"{one.account} ({one.open:,} open)" for one in strangers)
        click.echo(f"not followed here, for want of an [accounts.NAME] section: {named}", err=True)
