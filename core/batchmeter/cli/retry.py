"""`batchmeter retry BATCH`: submit the requests that got no good answer as a new batch."""

from typing import TYPE_CHECKING

import click

from .session import client, run
from .show import as_json, console, print_json
from .wait import show_settlement, wait_for

if TYPE_CHECKING:
    from batchmeter.rerun.rerun import Retry

REASONS = ("failed", "expired", "missing")


@click.command()
@click.argument("batch_id")
@click.option("--only", multiple=True, type=click.Choice(REASONS), help="Only these; repeat for more. Default: all.")
@click.option("--provider", "account", metavar="ACCOUNT", help="The batch's account, if not known.")
@click.option("--wait", is_flag=True, help="Wait for the end and print what it cost.")
@as_json
def retry(batch_id: str, only: tuple[str, ...], account: str | None, wait: bool, json_output: bool) -> None:
    """Submit what failed, expired or is missing in a finished batch again; its metadata names the first batch.

    Running it twice submits nothing twice; when the new batch needs another try, retry that one.
    """

    async def work() -> int:
        from batchmeter.rerun.rerun import retry

        async with client() as opened:
            made = await retry(opened, batch_id, only=only or REASONS, custom_llm_provider=account)
            if not json_output:
                _show(batch_id, made)
            elif not wait:
                counts = {"requests": made.requests, "new": made.new}
                print_json({"retry_of": batch_id, **counts, "batch": made.batch.id, "before": made.before})
            if not wait:
                return 0
            settlement = await wait_for(opened, made.batch.id, account)
        show_settlement(settlement, json_output=json_output)
        return 0 if settlement.status == "completed" else 1

    click.get_current_context().exit(run(work()))


def _show(batch_id: str, made: "Retry") -> None:
    if made.new:
        console().print(f"{made.requests:,} requests of {batch_id} submitted as {made.batch.id}")
    for earlier in dict.fromkeys(made.before.values()):
        reasons = " and ".join(reason for reason, batch in made.before.items() if batch == earlier)
        console().print(f"{reasons} requests of {batch_id} were submitted before, as {earlier}")
