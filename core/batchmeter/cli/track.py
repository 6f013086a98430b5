"""`batchmeter track`: follow every open batch in the ledger to its end, and deliver its events."""

import gc

import click

from .session import client, run
from .show import as_json, print_json


@click.command()
@click.option("--once", is_flag=True, help="Look at what is due now, deliver, and stop.")
@as_json
def track(once: bool, json_output: bool) -> None:
    """Run a tracker until Ctrl-C. Any number may share one ledger; batches are leased, never followed twice."""

    async def work() -> None:
        async with client() as opened:
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
