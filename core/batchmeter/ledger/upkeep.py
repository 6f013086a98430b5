"""Counts for people, and pruning: settled batches that are old go, their sums stay."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchmeter.events import Settlement

from . import serialize, spend
from .claims import forget_late_looks
from .files import FRESH
from .pruned_totals import PrunedTotals
from .records import CostGauge, Millis
from .session import Session

PRUNE_BLOCK = 500
"""Batches forgotten per transaction, so that nobody waits long for the write lock."""
FILE_PAGE = 5000
"""Files looked at per transaction; likewise."""


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
    rows = await session.rows("open_by_account")
    return [
        Following(
            row["account"], row["open"], row["leased"] or 0, row["overdue"] or 0, row["failing"] or 0, row["oldest_at"]
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Condition:
    """How a ledger is, of what is quickly told."""

    schema_version: int
    bytes: int | None
    """On disk; None where the engine does not say."""
    workers: tuple[str, ...]
    """Host, process and a word: those that hold a batch at this moment."""


async def condition(session: Session) -> Condition:
    version = await session.row("schema_version")
    size = await session.row("size") if session.has("size") else None
    workers = tuple(row["worker"] for row in await session.rows("workers"))
    return Condition(version["version"] if version else 0, size["bytes"] if size else None, workers)


def _by_account(counts: list[tuple[str, str, int]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for account, status, batches in counts:
        table.setdefault(account, {})[status] = batches
    return table


async def cost_gauges(session: Session) -> list[CostGauge]:
    """Counts and rough sums by account and status, quickly."""
    return [
        CostGauge(
            row["account"], row["status"], row["batches"], row["settled"], row["known_usd"], row["unpriced_lines"]
        )
        for row in await session.rows("count_costs")
    ]


async def prune_batches(session: Session, settled_before: Millis) -> int:
    """One block of them; 0 when there are no more."""
    await session.run("lock_pruned_totals")
    mark = await spend.lock_mark(session)
    old = await session.rows("prunable", before=settled_before, mark=mark, limit=PRUNE_BLOCK)
    batches = [{"account": row["account"], "batch_id": row["batch_id"]} for row in old]
    await _add_up(session, [{"pk": row["pk"]} for row in old])
    await spend.keep_pruned(session, [{"pk": row["pk"]} for row in old])
    await session.each("prune_events", batches)
    await session.each("prune_intents", [{"intent_id": row["intent_id"]} for row in old if row["intent_id"]])
    await forget_late_looks(session, batches)
    await session.each("prune_batches", [{"pk": row["pk"]} for row in old])
    return len(old)


async def _add_up(session: Session, batches: Sequence[Mapping[str, object]]) -> None:
    alike: defaultdict[tuple[str, str, str], list[Settlement]] = defaultdict(list)
    for settlement in await session.decoded(await session.each("settlements_of", batches), serialize.settlement):
        if not settlement.invented:
            alike[PrunedTotals.key_of(settlement)].append(settlement)
    named = [{"provider": provider, "account": account, "status": status} for provider, account, status in alike]
    known = await session.decoded(await session.each("pruned_totals_of", named), serialize.pruned_totals)
    earlier = {(one.provider, one.account, one.status): one for one in known}
    sums = [PrunedTotals.of(settlements, earlier.get(key)) for key, settlements in alike.items()]
    await session.each(
        "keep_pruned_totals", [{**key, "sums": serialize.dump(one)} for key, one in zip(named, sums, strict=True)]
    )


async def pruned_totals(session: Session) -> list[PrunedTotals]:
    """Sums of pruned batches, by provider, account and status."""
    return await session.decoded(await session.rows("pruned_totals"), serialize.pruned_totals)


async def prune_answers(session: Session, before: Millis) -> None:
    await session.run("prune_closed_intents", before=before)
    await session.run("prune_answers", before=before)


async def prune_files(session: Session, before: Millis, after: tuple[str, str]) -> tuple[str, str] | None:
    """One page of all files: those not used since then, nor since any batch that is kept; the last one looked at.

    A batch's files are never older than itself, so what is older than all batches is no batch's.
    """
    oldest = await session.row("oldest_batch")
    floor = (before if oldest is None else min(before, oldest["recorded_at"])) - FRESH
    page = await session.rows("old_files", before=floor, after_file=after[0], after_account=after[1], limit=FILE_PAGE)
    old = [{"file_id": row["file_id"], "account": row["account"]} for row in page if row["old"]]
    await session.each("prune_files", old, before=floor)
    return (page[-1]["file_id"], page[-1]["account"]) if page else None
