"""`batchmeter retry BATCH`: submit the requests that got no good answer as a new batch."""

import click

from .session import client, run
from .show import as_json, console, print_json
from .wait import show_settlement, wait_for

REASONS = ("failed", "expired", "missing")


@click.command()
@click.argument("batch_id")
@click.option("--only", multiple=True, type=click.Choice(REASONS), help="Only these; repeat for more. Default: all.")
@click.option("--provider", "account", metavar="ACCOUNT", help="The batch's account, if not known.")
@click.option("--wait", is_flag=True, help="Wait for the end and print what it cost.")
@as_json
def retry(batch_id: str, only: tuple[str, ...], account: str | None, wait: bool, json_output: bool) -> None:
    """Submit what failed, expired or is missing in a finished batch again; its metadata names the first batch.

    Running it twice makes one new batch; when that one needs another try, retry that one.
    """

    async def work() -> int:
        from batchmeter.retrying import retry

        async with client() as opened:
            made = await retry(opened, batch_id, only=only or REASONS, custom_llm_provider=account)
            if not json_output:
                done = "submitted" if made.new else "submitted before:"
                console().print(f"{made.requests:,} requests of {batch_id} {done} as {made.batch.id}")
            elif not wait:
                print_json({"retry_of": batch_id, "requests": made.requests, "new": made.new, "batch": made.batch.id})
            if not wait:
                return 0
            settlement = await wait_for(opened, made.batch.id, account)
        show_settlement(settlement, json_output=json_output)
        return 0 if settlement.status == "completed" else 1

    click.get_current_context().exit(run(work()))
