"""`batchmeter events`: what was recorded, as CloudEvents' `data`: one JSON object a line."""

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import click

from batchmeter.config import nearest

from .inert import inert_json
from .session import client, run
from .show import as_json, cost, table

if TYPE_CHECKING:
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
            seen = 0
            while True:
                found = await opened.ledger.events(
                    types=types or None,
                    after=seen,
                    since=millis(since),
                    batch_id=batch_id,
                    limit=limit,
                )
                shown = found if recorded else await opened.deliverer.redaction.shown(found)
                _print(shown, json_lines=json_output or follow)
                seen = found[-1].seq if found else seen
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


def millis(text: str | None) -> int | None:
    """An ISO 8601 time or date, UTC unless it says otherwise, as epoch milliseconds."""
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is not a time: write 2026-11-22 or 2026-11-22T09:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp() * 1000)


def _print(found: "list[StoredEvent]", *, json_lines: bool) -> None:
    if json_lines:
        for stored in found:
            click.echo(inert_json(stored.payload.decode()))
        return
    rows = [
        (event.time.strftime("%Y-%m-%d %H:%M:%SZ"), event.type, event.account, event.batch_id, _cost(event))
        for event in (stored.event for stored in found)
    ]
    table(None, ("time", "event", "account", "batch", "cost>"), rows)


def _cost(event: object) -> str:
    found = getattr(event, "cost", None)
    return "" if found is None else cost(found)
