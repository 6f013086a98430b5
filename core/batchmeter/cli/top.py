"""`batchmeter top`: open batches with their progress, what was spent today, and what loggers are owed; live on a terminal."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import click

from batchmeter.commands.output import as_json, console, duration, grid, money, print_json
from batchmeter.commands.session import client, run

if TYPE_CHECKING:
    from rich.console import RenderableType

    from batchmeter.faces.client import AsyncClient
    from batchmeter.host import LoggerGauge
    from batchmeter.ledger.records import TrackedBatch

_SHOWN = 20
_SECONDS = 2.0
_BAR = 8
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """Seconds are None where they cannot be told."""

    batch_id: str
    account: str
    team: str | None
    status: str
    done: int | None
    failed: int | None
    requests: int | None
    age_seconds: float | None
    seconds_left: float | None
    """Likely: by its counts, else half of such batches have ended by then."""
    most_seconds_left: float | None
    """Nine in ten have."""
    expires_in_seconds: float | None


@dataclass(frozen=True, slots=True)
class Top:
    """One moment of a ledger."""

    time: str
    open: int
    overdue: int
    """Due for a look, and held by no tracker."""
    batches: tuple[OpenBatch, ...]
    """The newest."""
    batches_today: int
    lines_today: int
    cost_today: str | None
    """USD of the batches settled since midnight UTC; None where some of it is unknown."""
    known_today: str
    unpriced_lines_today: int
    owed: int
    """Events on their way to loggers."""
    dead: int
    """Events given up."""
    oldest_owed_seconds: float | None


@click.command()
@click.option("--once", is_flag=True, help="Print it once, and end.")
@click.option("--seconds", default=_SECONDS, show_default=True, type=click.FloatRange(0.1), help="From look to look.")
@as_json
def top(once: bool, seconds: float, json_output: bool) -> None:
    """Open batches with progress and time left, what was spent today, what loggers are owed. No provider is asked."""

    async def work() -> None:
        async with client() as opened:
            if json_output:
                print_json(await look(opened))
            elif once or not console().is_terminal:
                console().print(_shown(await look(opened)))
            else:
                await _follow(opened, seconds)

    run(work())


async def _follow(opened: "AsyncClient", seconds: float) -> None:
    from rich.live import Live

    with Live(_shown(await look(opened)), console=console(), auto_refresh=False) as live:
        while True:
            await asyncio.sleep(seconds)
            live.update(_shown(await look(opened)), refresh=True)


async def look(opened: "AsyncClient") -> Top:
    """From the ledger alone."""
    from batchmeter.access import access_of
    from batchmeter.spend.spend import spend_of

    ledger, access = opened.ledger, await access_of(opened)
    now = ledger.now()
    midnight = now - now % (_DAY_SECONDS * 1000)
    batches = await ledger.list_batches(settled=False, limit=_SHOWN)
    accounts, gauges = await access.following(), await ledger.gauges()
    today = (await spend_of(await opened.ready()).report(since=midnight)).total
    return Top(
        time=datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        open=sum(one.open for one in accounts),
        overdue=sum(one.overdue for one in accounts),
        batches=tuple([_open(one, now / 1000, await access.seconds_left(one)) for one in batches]),
        batches_today=today.batches,
        lines_today=today.lines,
        cost_today=None if today.total is None else f"{today.total:f}",
        known_today=f"{today.known:f}",
        unpriced_lines_today=today.unpriced_lines,
        owed=sum(one.pending for one in gauges),
        dead=sum(one.dead for one in gauges),
        oldest_owed_seconds=_oldest(gauges, now),
    )


def _oldest(gauges: "Sequence[LoggerGauge]", now: int) -> float | None:
    times = [one.oldest_pending_at for one in gauges if one.oldest_pending_at is not None]
    return (now - min(times)) / 1000 if times else None


def _open(tracked: "TrackedBatch", now: float, left: tuple[float, float] | None) -> OpenBatch:
    batch, counts = tracked.batch, tracked.batch.request_counts
    return OpenBatch(
        batch_id=batch.id,
        account=tracked.account,
        team=tracked.submission.attribution.team,
        status=batch.status,
        done=counts.completed + counts.failed if counts else None,
        failed=counts.failed if counts else None,
        requests=counts.total if counts else None,
        age_seconds=None if batch.created_at is None else now - batch.created_at,
        seconds_left=left and left[0],
        most_seconds_left=left and left[1],
        expires_in_seconds=None if batch.expires_at is None else batch.expires_at - now,
    )


def _shown(found: Top) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    spent = _spent(found)
    owed = f"{found.owed:,} deliveries owed" + (f", {found.dead:,} given up" if found.dead else "")
    late = f", {found.overdue:,} overdue" if found.overdue else ""
    settled = f"{found.batches_today:,} {'batch' if found.batches_today == 1 else 'batches'}"
    head = Text(f"{found.time[11:]}   {found.open:,} open{late} · today {spent} in {settled} · {owed}")
    if not found.batches:
        return Group(head, Text("no batch is open"))
    columns = ("batch!", "progress>", "left>", "status", "account", "age>", "expires>", "team", "failed>")
    more = found.open - len(found.batches)
    table = grid(columns, [_row(one) for one in found.batches])
    return Group(head, table, Text(f"and {more:,} more") if more > 0 else Text(""))


def _spent(found: Top) -> str:
    """Today's cost, or what is known of it."""
    if found.cost_today is not None:
        return money(Decimal(found.cost_today))
    known = Decimal(found.known_today)
    return f">= {money(known)}" if known else "unknown"


def _row(one: OpenBatch) -> tuple[str, ...]:
    late = one.expires_in_seconds is not None and one.expires_in_seconds < 0
    return (
        one.batch_id,
        _progress(one),
        _left(one),
        one.status,
        one.account,
        _short(one.age_seconds),
        "late" if late else _short(one.expires_in_seconds),
        one.team or "-",
        "-" if one.failed is None else f"{one.failed:,}",
    )


def _progress(one: OpenBatch) -> str:
    if not one.requests or one.done is None:
        return "-"
    full = min(one.done, one.requests) * _BAR // one.requests
    return f"{'█' * full}{'░' * (_BAR - full)} {100 * min(one.done, one.requests) // one.requests}%"


def _left(one: OpenBatch) -> str:
    least, most = _short(one.seconds_left), _short(one.most_seconds_left)
    return least if least == most else f"{least}-{most}"


def _short(seconds: float | None) -> str:
    """To the minute, from an hour on."""
    if seconds is None:
        return "-"
    return duration(seconds) if seconds < 3600 else duration(seconds).rpartition("m")[0] + "m"  # noqa: PLR2004
