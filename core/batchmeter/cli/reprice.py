"""`batchmeter reprice`: settled batches at the prices known now, without downloading anything again."""

import click

from .events import millis
from .session import client, run
from .show import as_json, console, cost, print_json, table


@click.command()
@click.argument("batch_ids", nargs=-1)
@click.option("--since", metavar="TIME", help="Only those settled since this UTC time; default: all.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@as_json
def reprice(batch_ids: tuple[str, ...], since: str | None, dry_run: bool, json_output: bool) -> None:
    """Price settled batches again, after new prices or your own rows; a changed cost is a new revision and event."""
    from batchmeter.reports.reprice import Repriced, Repricer

    async def work() -> list[Repriced]:
        async with client() as opened:
            repricer = Repricer(opened.ledger, opened.accounts, opened.plugins, opened.prices)
            changed = await repricer.reprice(batch_ids, since=millis(since), dry_run=dry_run)
            opened.deliverer.notify()
        return changed

    changed = run(work())
    if json_output:
        print_json([
            {
                "account": one.account,
                "batch_id": one.batch_id,
                "revision": one.revision,
                "before": one.before.model_dump(mode="json"),
                "after": one.after.model_dump(mode="json"),
            }
            for one in changed
        ])  # fmt: skip
        return
    rows = ((one.batch_id, one.account, one.revision, cost(one.before), cost(one.after)) for one in changed)
    if changed:
        table(None, ("batch", "account", "revision>", "before>", "after>"), rows)
    console().print(f"{len(changed)} batches {'would change' if dry_run else 'changed'}")
