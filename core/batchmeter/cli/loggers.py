"""`batchmeter loggers` and `abandon`: who is owed events, whether anybody delivers them, and ending that."""

from typing import TYPE_CHECKING

import click

from batchmeter.commands.output import as_json, console, instant, print_json, table
from batchmeter.commands.session import client, run

if TYPE_CHECKING:
    from batchmeter.ledger.records import Subscribed


@click.command()
@click.option("--all", "everything", is_flag=True, help="Those that were abandoned, too.")
@as_json
def loggers(everything: bool, json_output: bool) -> None:
    """Everything that is owed events, whichever process has it: what it handles, when it was last seen, what it waits for."""
    from batchmeter.ledger.outbox import is_unseen, unattended_text

    async def work() -> "tuple[list[Subscribed], str, int]":
        async with client() as opened:
            held = await opened.deliverer.redaction.missing()
            return await opened.ledger.subscriptions(), held, opened.ledger.now()

    found, held, now = run(work())
    shown = [one for one in found if everything or one.ended_at is None or one.owed]
    if json_output:
        print_json([_plain(one, held) for one in shown])
        return
    columns = ("logger", "handles", "since~", "last seen", "owed>", "oldest owed", "dead>", "remark")
    table(None, columns, [_row(one) for one in shown])
    if held:
        console().print(f"events are held back here: {held}")
    for one in shown:
        if one.owed and is_unseen(one, now):
            console().print(f"warning: {unattended_text(one)}")


@click.command()
@click.argument("name", required=False)
@click.option("--logger", "logger", hidden=True, help="The same as NAME.")
@as_json
def abandon(name: str | None, logger: str | None, json_output: bool) -> None:
    """End a logger's (or redactor's) subscription: it is owed nothing more, and what it has not accepted is dead.

    Its batches can then be pruned, and events that waited for a missing redactor go out. The next process that has it
    begins a new subscription; `replay` sends it what it missed.
    """
    chosen = name or logger
    if chosen is None:
        raise click.UsageError("name the logger: batchmeter abandon NAME (`batchmeter loggers` lists them)")

    async def work() -> int:
        from batchmeter.commands.session import ledger as open_ledger
        from batchmeter.discovery import installed_plugins

        async with open_ledger() as opened:
            known = {one.name for one in await opened.subscriptions()} | {g.logger for g in await opened.gauges()}
            known |= {one.name for one in installed_plugins()}  # a redactor that never worked is in no ledger
            if chosen not in known:
                from batchmeter.config import nearest

                raise click.UsageError(f"no logger {chosen!r} in this ledger{nearest(chosen, known)}")
            return await opened.abandon(chosen, reason="abandoned")

    count = run(work())
    if json_output:
        print_json({"logger": chosen, "deliveries": count})
    else:
        console().print(f"{chosen} is owed nothing any more; {count:,} deliveries to it given up")


def _plain(one: "Subscribed", held: str) -> dict[str, object]:
    return {
        "logger": one.name,
        "handles": None if one.kinds is None else sorted(one.kinds),
        "callback": one.scoped,
        "since": one.since,
        "last_seen": one.last_seen,
        "ended_at": one.ended_at,
        "problem": one.problem,
        "owed": one.owed,
        "oldest_owed_at": one.oldest_owed_at,
        "dead": one.dead,
        "held_back": held or None,
    }


def _row(one: "Subscribed") -> tuple[object, ...]:
    remark = "abandoned" if one.ended_at is not None else one.problem or ""
    handles = "not known yet" if one.kinds is None else ", ".join(sorted(one.kinds))
    times = [None if millis is None else millis / 1000 for millis in (one.since, one.last_seen, one.oldest_owed_at)]
    since, last, oldest = (instant(moment) for moment in times)
    return one.name, handles, since, last or "never", f"{one.owed:,}", oldest, f"{one.dead:,}", remark
