"""Gauges of a ledger for people and dashboards: counts of its batches, and of those that are followed."""

from dataclasses import dataclass
from typing import Any

from batchmeter.ledger.records import Millis
from batchmeter.ledger.session import Session

MOST_NEWEST, MOST_COUNTED = 1000, 10_000
"""Deliveries that a logger's activity looks at: a page over millions of them is as quick."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How a ledger is, of what is quickly told."""

    schema_version: int
    bytes: int | None
    """On disk; None where the engine does not say."""
    workers: tuple[str, ...]
    """Host, process and a word: those that hold a batch at this moment."""


async def condition(session: Session) -> Condition:
    """The ledger's schema and size, and who works on its batches now."""
    version = await session.row("schema_version")
    size = await session.row("size") if session.has("size") else None
    workers = tuple(row["worker"] for row in await session.rows("workers"))
    return Condition(version["version"] if version else 0, size["bytes"] if size else None, workers)


@dataclass(frozen=True, slots=True)
class LoggerActivity:
    """Deliveries of a logger, lately."""

    delivered: int
    """At most `MOST_COUNTED` are counted."""
    last_hour: int
    """Delivered, of its newest `MOST_NEWEST` events."""
    last_error: str | None
    """Of these, the newest that had one."""


async def activity(session: Session, logger: str) -> LoggerActivity:
    """Counts of a logger's deliveries, as far as they are quickly told, and its last error."""
    newest = await session.rows("newest_deliveries", logger=logger, limit=MOST_NEWEST)
    counted = await session.row("count_delivered", logger=logger, limit=MOST_COUNTED)
    hour = sum(row["delivered_at"] is not None and row["delivered_at"] > session.now - 3_600_000 for row in newest)
    error = next((row["last_error"] for row in newest if row["last_error"]), None)
    return LoggerActivity(counted["delivered"] if counted else 0, hour, error)


@dataclass(frozen=True, slots=True)
class CostGauge:
    """One account's batches of one status, counted."""

    account: str
    status: str
    batches: int
    settled: int
    known_usd: float
    """For graphs; exact sums come from the settlements."""
    unpriced_lines: int


@dataclass(frozen=True, slots=True)
class Following:
    """One account's unsettled batches."""

    account: str
    open: int
    leased: int
    """Held by a worker at this moment."""
    overdue: int
    """Due, and held by nobody."""
    failing: int
    """Their last look failed."""
    oldest_at: Millis


async def stats(session: Session) -> dict[str, Any]:
    """Counts for people: batches by account and status, open, overdue, events, schema version."""
    counted = await session.rows("count_batches")
    events = await session.rows("count_events")
    intents = await session.row("count_intents")
    version = await session.row("schema_version")
    return {
        "batches": sum(row["batches"] for row in counted),
        "open": sum(row["open"] for row in counted),
        "overdue": sum(row["overdue"] for row in counted),
        "accounts": _by_account([(row["account"], row["status"], row["batches"]) for row in counted]),
        "events": {row["type"]: row["events"] for row in events},
        "open_intents": intents["open"] if intents else 0,
        "schema_version": version["version"] if version else None,
    }


async def following(session: Session) -> list[Following]:
    """Each account's open batches: how many are overdue, and how old the oldest is."""
    rows = await session.rows("open_by_account")
    return [
        Following(
            row["account"], row["open"], row["leased"] or 0, row["overdue"] or 0, row["failing"] or 0, row["oldest_at"]
        )
        for row in rows
    ]


def _by_account(counts: list[tuple[str, str, int]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for account, status, batches in counts:
        table.setdefault(account, {})[status] = batches
    return table


async def cost_gauges(session: Session) -> list[CostGauge]:
    """Counts and rough sums by account and status, pruned batches excepted, quickly."""
    return [
        CostGauge(
            row["account"], row["status"], row["batches"], row["settled"], row["known_usd"], row["unpriced_lines"]
        )
        for row in await session.rows("count_costs")
    ]
