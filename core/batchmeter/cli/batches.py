"""`batchmeter batches`: what the ledger knows of each batch, and what can be done with one."""

from typing import TYPE_CHECKING

import click

from batchmeter.commands.output import as_json, console, cost, duration, instant, print_json, table
from batchmeter.commands.session import client, run, whole_id
from batchmeter.commands.wait import show_settlement, wait_for

from .results import results

if TYPE_CHECKING:
    from batchmeter.events import Settlement
    from batchmeter.ledger.records import TrackedBatch

account_option = click.option("--provider", "account", metavar="ACCOUNT", help="The batch's account, if not known.")


@click.group(invoke_without_command=True)
@as_json
@click.pass_context
def batches(ctx: click.Context, json_output: bool) -> None:
    """List, show, cancel, delete or await batches, and get results (`list` when nothing else is said)."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_batches, json_output=json_output)


@batches.command("list")
@click.option("--provider", "account", metavar="ACCOUNT", help="Only this account's.")
@click.option("--status", "statuses", multiple=True, help="Only this status; repeat for more.")
@click.option("--open", "only_open", is_flag=True, help="Only those not settled yet.")
@click.option("--limit", default=50, show_default=True)
@as_json
def list_batches(
    account: str | None = None,
    statuses: tuple[str, ...] = (),
    only_open: bool = False,
    limit: int = 50,
    json_output: bool = False,
) -> None:
    """The batches in the ledger, newest first; no provider is asked."""
    rows = run(_rows(account, statuses, only_open, limit))
    if json_output:
        print_json([_plain(tracked, settled) for tracked, settled in rows])
        return
    columns = ("batch!", "status", "cost>", "account", "lines>", "submitted", "endpoint")
    table(None, columns, (_row(tracked, settled) for tracked, settled in rows))


@batches.command()
@click.argument("batch_id")
@account_option
@as_json
def show(batch_id: str, account: str | None, json_output: bool) -> None:
    """One batch in the ledger: its last status, what it came to, when it is looked at next."""
    tracked, settled = run(_one(batch_id, account))
    if json_output:
        print_json(_plain(tracked, settled))
        return
    batch = tracked.batch
    facts = {
        "batch": batch.id,
        "account": tracked.account,
        "status": batch.status,
        "endpoint": batch.endpoint,
        "input file": batch.input_file_id,
        "output file": batch.output_file_id,
        "error file": batch.error_file_id,
        "created": instant(batch.created_at),
        "looked at": _millis(tracked.last_polled_at),
        "next look": _millis(tracked.next_poll_at),
        "last error": tracked.last_error,
        "metadata": ", ".join(f"{key}={value}" for key, value in tracked.submission.metadata.items()),
    }
    for name, value in facts.items():
        if value:
            console().print(f"{name:12} {value}")
    if settled is not None:
        show_settlement(settled)


@batches.command()
@click.argument("batch_id")
@account_option
@as_json
def cancel(batch_id: str, account: str | None, json_output: bool) -> None:
    """Ask the provider to cancel a batch; finished lines are still billed and metered."""

    async def work() -> None:
        async with client() as opened:
            batch = await opened.batches.cancel(await whole_id(opened, batch_id), custom_llm_provider=account)
        if json_output:
            print_json(batch)
        else:
            console().print(f"{batch.id}: {batch.status}")

    run(work())


@batches.command()
@click.argument("batch_id")
@account_option
def delete(batch_id: str, account: str | None) -> None:
    """Have a settled batch forgotten by its provider, where that can; its files, and what it cost, stay."""

    async def work() -> None:
        async with client() as opened:
            whole = await whole_id(opened, batch_id)
            await opened.batches.delete(whole, custom_llm_provider=account)
        console().print(f"{whole}: deleted")

    run(work())


@batches.command()
@click.argument("batch_id")
@account_option
@click.option("--timeout", type=float, metavar="SECONDS", help="Give up after this long.")
@as_json
def wait(batch_id: str, account: str | None, timeout: float | None, json_output: bool) -> None:
    """Wait until a batch has ended and print what it cost; exit code 1 when it did not complete."""

    async def work() -> "Settlement":
        async with client() as opened:
            return await wait_for(opened, await whole_id(opened, batch_id), account, timeout)

    settlement = run(work())
    show_settlement(settlement, json_output=json_output)
    click.get_current_context().exit(0 if settlement.status == "completed" else 1)


batches.add_command(results)


async def _rows(
    account: str | None, statuses: tuple[str, ...], only_open: bool, limit: int
) -> "list[tuple[TrackedBatch, Settlement | None]]":
    async with client() as opened:
        found = await opened.ledger.list_batches(
            account=account, statuses=statuses or None, settled=False if only_open else None, limit=limit
        )
        return [(one, await opened.batches.settlement(one.batch_id, custom_llm_provider=one.account)) for one in found]


async def _one(batch_id: str, account: str | None) -> "tuple[TrackedBatch, Settlement | None]":
    async with client() as opened:
        batch_id = await whole_id(opened, batch_id)
        tracked = await opened.ledger.get_batch(batch_id, account)
        if tracked is None:
            raise click.ClickException(
                f"no batch {batch_id!r} in this ledger ({opened.ledger.url}); `batchmeter batches wait {batch_id} "
                "--provider ACCOUNT` adopts one that was submitted elsewhere"
            )
        return tracked, await opened.batches.settlement(batch_id, custom_llm_provider=tracked.account)


def _plain(tracked: "TrackedBatch", settled: "Settlement | None") -> dict[str, object]:
    return {
        "account": tracked.account,
        "provider": tracked.submission.provider,
        "batch": tracked.batch.model_dump(mode="json"),
        "metadata": tracked.submission.metadata,
        "next_poll_at": tracked.next_poll_at,
        "last_error": tracked.last_error,
        "settlement": None if settled is None else settled.model_dump(mode="json"),
    }


def _row(tracked: "TrackedBatch", settled: "Settlement | None") -> tuple[object, ...]:
    batch = tracked.batch
    lines = settled.request_counts.total if settled else batch.request_counts.total if batch.request_counts else 0
    took = f" ({duration(settled.times.total_seconds)})" if settled and settled.times.total_seconds else ""
    return (
        batch.id,
        batch.status + took,
        cost(settled.cost) if settled else "open",
        tracked.account,
        f"{lines:,}",
        instant(batch.created_at),
        batch.endpoint,
    )


def _millis(value: int | None) -> str:
    return instant(None if value is None else value / 1000)
