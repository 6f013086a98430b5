"""`batchmeter check` and `retry`: the requests of a finished batch that got no answer, and submitting them again."""

import dataclasses
from typing import TYPE_CHECKING

import click

from batchmeter.commands.output import as_json, console, print_json, table
from batchmeter.commands.session import client, run, whole_id
from batchmeter.commands.wait import show_settlement, wait_for

if TYPE_CHECKING:
    from batchmeter.rerun.completeness import Completeness
    from batchmeter.rerun.rerun import Retry


@click.command()
@click.argument("batch_id")
@click.option("--provider", "account", metavar="ACCOUNT", help="The batch's account, if not known.")
@as_json
def check(batch_id: str, account: str | None, json_output: bool) -> None:
    """Compare a finished batch's input with its output and error files; exit code 1 when anything is missing or double."""

    async def work() -> "Completeness":
        from batchmeter.rerun.completeness import check

        async with client() as opened:
            whole = await whole_id(opened, batch_id)
            provider = await opened.provider(account, {}, about=whole)
            batch = await opened.batches.retrieve(whole, custom_llm_provider=provider.account)
            tracked = await opened.ledger.get_batch(whole, provider.account)
            settled = await opened.ledger.settlement(whole, provider.account)
            input_file_id = tracked.submission.input_file_id if tracked else None
            return await check(provider, batch, input_file_id, settled[0] if settled else None)

    found = run(work())
    if json_output:
        print_json({**dataclasses.asdict(found), "complete": found.complete})
    else:
        _show_found(found)
    click.get_current_context().exit(0 if found.complete else 1)


def _show_found(found: "Completeness") -> None:
    names = ("requests", "succeeded", "failed", "expired", "missing", "doubled", "foreign", "malformed")
    table(
        f"{found.batch_id} {found.status}", [f"{name}>" for name in names], [[f"{getattr(found, n):,}" for n in names]]
    )
    for what, ids, count in (
        ("missing", found.missing_ids, found.missing),
        ("doubled", found.doubled_ids, found.doubled),
    ):
        more = f" and {count - len(ids):,} more" if count > len(ids) else ""
        if ids:
            console().print(f"{what}: {', '.join(ids)}{more}")
    if found.missing and (found.unread or found.foreign):
        console().print(
            "what is missing may have been answered: "
            f"{found.unread:,} answers that the provider counts were not read, {found.foreign:,} are to no request"
        )
    elif found.failed + found.expired + found.missing:
        console().print(f"submit these again: batchmeter retry {found.batch_id}")


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
            made = await retry(
                opened, await whole_id(opened, batch_id), only=only or REASONS, custom_llm_provider=account
            )
            if not json_output:
                _show_made(batch_id, made)
            elif not wait:
                counts = {"requests": made.requests, "new": made.new}
                print_json({"retry_of": batch_id, **counts, "batch": made.batch.id, "before": made.before})
            if not wait:
                return 0
            settlement = await wait_for(opened, made.batch.id, account)
        show_settlement(settlement, json_output=json_output)
        return 0 if settlement.status == "completed" else 1

    click.get_current_context().exit(run(work()))


def _show_made(batch_id: str, made: "Retry") -> None:
    if made.new:
        console().print(f"{made.requests:,} requests of {batch_id} submitted as {made.batch.id}")
    for earlier in dict.fromkeys(made.before.values()):
        reasons = " and ".join(reason for reason, batch in made.before.items() if batch == earlier)
        console().print(f"{reasons} requests of {batch_id} were submitted before, as {earlier}")
