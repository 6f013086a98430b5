"""`batchmeter deliveries` and `replay`: which logger has what, and sending it again."""

from typing import TYPE_CHECKING

import click

from batchmeter.config import nearest

from .events import millis
from .session import client, run
from .show import as_json, console, instant, print_json, table

if TYPE_CHECKING:
    from batchmeter.client import AsyncClient


@click.command()
@click.option("--logger", "logger", help="Only this logger's.")
@click.option("--dead", is_flag=True, help="Those given up, with the reason.")
@click.option("--pending", is_flag=True, help="Those still to be accepted.")
@click.option("--limit", default=100, show_default=True)
@as_json
def deliveries(logger: str | None, dead: bool, pending: bool, limit: int, json_output: bool) -> None:
    """Each logger's backlog; with --dead or --pending, the deliveries themselves."""
    if dead or pending:
        _list(logger, "dead" if dead else "pending", limit, json_output)
        return

    async def work() -> list[dict[str, object]]:
        async with client() as opened:
            gauges = await opened.ledger.gauges()
        return [
            {
                "logger": g.logger,
                "pending": g.pending,
                "dead": g.dead,
                "delivered": g.delivered,
                "oldest_pending_at": g.oldest_pending_at,
            }
            for g in gauges
            if logger is None or g.logger == logger
        ]

    rows = run(work())
    if json_output:
        print_json(rows)
        return
    table(
        None,
        ("logger", "pending>", "dead>", "delivered>", "oldest pending"),
        ((r["logger"], r["pending"], r["dead"], r["delivered"], _millis(r["oldest_pending_at"])) for r in rows),
    )


@click.command()
@click.option("--logger", "logger", required=True, help="The logger to send to (again).")
@click.option("--since", metavar="TIME", help="Events recorded since this UTC time; default: all.")
@click.option("--dead", is_flag=True, help="Only those that were given up.")
@as_json
def replay(logger: str, since: str | None, dead: bool, json_output: bool) -> None:
    """Deliver recorded events to a logger again, or for the first time to one enabled later."""

    async def work() -> tuple[int, bool]:
        async with client() as opened:
            await _check_name(opened, logger)
            count = await opened.ledger.replay(logger, since=millis(since), dead_only=dead)
            enabled = logger in opened.plugins.loggers
            if enabled:
                opened.deliverer.notify()
                await opened.deliverer.drain(60)
        return count, enabled

    count, enabled = run(work())
    if json_output:
        print_json({"logger": logger, "events": count, "enabled": enabled})
        return
    later = "" if enabled else f"; they wait until logger {logger!r} is enabled (`batchmeter plugins`) or abandoned"
    console().print(f"{count:,} events due again for {logger}{later}")


async def _check_name(opened: "AsyncClient", logger: str) -> None:
    """A misspelt one would be owed every event, and keep its batches from being pruned.

    Known are the installed ones, on or off, and those of applications, which the ledger has had events for.
    """
    with_events = {gauge.logger for gauge in await opened.ledger.gauges()}
    known = {*opened.plugins.loggers, *with_events, *(i.name for i in opened.plugins.info() if i.state != "on")}
    if logger not in known:
        raise click.UsageError(f"--logger {logger!r}: no such logger{nearest(logger, known)}")


def _list(logger: str | None, state: str, limit: int, json_output: bool) -> None:
    async def work() -> list[dict[str, object]]:
        async with client() as opened:
            held = await opened.deliverer.redaction.missing() if state == "pending" else ""
            found = await opened.ledger.deliveries(
                logger=logger, state="dead" if state == "dead" else "pending", limit=limit
            )
        return [
            {
                "logger": d.logger,
                "event": d.stored.event.type,
                "batch_id": d.stored.event.batch_id,
                "event_id": d.stored.event.id,
                "attempts": d.attempts,
                "next_attempt_at": d.next_attempt_at,
                "reason": f"held back: {held}" if held else d.last_error,
            }
            for d in found
        ]

    rows = run(work())
    if json_output:
        print_json(rows)
        return
    table(
        None,
        ("logger", "event", "batch", "attempts>", "next try", "reason"),
        (
            (r["logger"], r["event"], r["batch_id"], r["attempts"], _millis(r["next_attempt_at"]), r["reason"])
            for r in rows
        ),
    )


def _millis(value: object) -> str:
    return instant(value / 1000 if isinstance(value, int) else None)
