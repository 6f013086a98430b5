"""`batchmeter events`, `deliveries` and `replay`: events as recorded, the loggers that have them, and sending them again."""

import asyncio
from typing import TYPE_CHECKING

import click

from batchmeter.commands.inert import inert_json
from batchmeter.commands.output import as_json, console, cost, instant, millis, print_json, table
from batchmeter.commands.session import client, run, whole_id
from batchmeter.config import nearest

if TYPE_CHECKING:
    from batchmeter.faces.client import AsyncClient
    from batchmeter.ledger.records import StoredEvent


POLL_SECONDS = 1.0


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on printing new ones until Ctrl-C.")
@click.option(
    "--type",
    "types",
    multiple=True,
    help="Only acreate_batch, batch_success, batch_failure or a plugin's type; repeat for more.",
)
@click.option("--since", metavar="TIME", help="Only those recorded since this UTC time (ISO 8601).")
@click.option("--batch", "batch_id", help="Only this batch's.")
@click.option("--recorded", is_flag=True, help="As recorded, not as `redact` plugins leave it for loggers.")
@click.option("--limit", default=1000, show_default=True)
@as_json
def events(
    follow: bool,
    types: tuple[str, ...],
    since: str | None,
    batch_id: str | None,
    recorded: bool,
    limit: int,
    json_output: bool,
) -> None:
    """Print recorded events in order: a table, or the whole events as JSON lines (always with --follow)."""

    async def work() -> None:
        async with client() as opened:
            _check(types)
            chosen = None if batch_id is None else await whole_id(opened, batch_id)
            last = 0
            while True:
                found = await opened.ledger.events(
                    types=types or None,
                    after=last,
                    since=millis(since),
                    batch_id=chosen,
                    limit=limit,
                )
                shown = found if recorded else await opened.deliverer.redaction.shown(found)
                _print(shown, json_lines=json_output or follow)
                last = found[-1].seq if found else last
                if not follow:
                    return
                if not found:
                    await asyncio.sleep(POLL_SECONDS)

    run(work())


def _check(types: tuple[str, ...]) -> None:
    """Plugins have said by now which events they bring."""
    from batchmeter.events import event_kinds

    for kind in types:
        if kind not in event_kinds():
            raise click.UsageError(f"--type {kind!r}: no such type of event{nearest(kind, event_kinds())}")


def _print(found: "list[StoredEvent]", *, json_lines: bool) -> None:
    if json_lines:
        for stored in found:
            click.echo(inert_json(stored.payload.decode()))
        return
    rows = [
        (event.batch_id, event.type, _cost(event), event.time.strftime("%Y-%m-%d %H:%M:%SZ"), event.account)
        for event in (stored.event for stored in found)
    ]
    table(None, ("batch!", "event", "cost>", "time", "account"), rows)


def _cost(event: object) -> str:
    found = getattr(event, "cost", None)
    return "" if found is None else cost(found)


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
        ("batch!", "logger", "event", "attempts>", "reason", "next try"),
        (
            (r["batch_id"], r["logger"], r["event"], r["attempts"], r["reason"], _millis(r["next_attempt_at"]))
            for r in rows
        ),
    )


def _millis(value: object) -> str:
    return instant(value / 1000 if isinstance(value, int) else None)
