"""`batchmeter check BATCH`: does every request of a finished batch have exactly one line in its files?"""

import dataclasses
from typing import TYPE_CHECKING

import click

from .session import client, run
from .show import as_json, console, print_json, table

if TYPE_CHECKING:
    from batchmeter.rerun.completeness import Completeness


@click.command()
@click.argument("batch_id")
@click.option("--provider", "account", metavar="ACCOUNT", help="The batch's account, if not known.")
@as_json
def check(batch_id: str, account: str | None, json_output: bool) -> None:
    """Compare a finished batch's input with its output and error files; exit code 1 when anything is missing or double."""

    async def work() -> "Completeness":
        from batchmeter.rerun.completeness import check

        async with client() as opened:
            provider = await opened.provider(account, {}, about=batch_id)
            batch = await opened.batches.retrieve(batch_id, custom_llm_provider=provider.account)
            tracked = await opened.ledger.get_batch(batch_id, provider.account)
            settled = await opened.ledger.settlement(batch_id, provider.account)
            input_file_id = tracked.submission.input_file_id if tracked else None
            return await check(provider, batch, input_file_id, settled[0] if settled else None)

    found = run(work())
    if json_output:
        print_json({**dataclasses.asdict(found), "complete": found.complete})
    else:
        _show(found)
    click.get_current_context().exit(0 if found.complete else 1)


def _show(found: "Completeness") -> None:
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
