"""Pruning: deletes old settled batches, and keeps their sums for the reports and for the totals that metrics show."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial

from batchmeter.events import Settlement
from batchmeter.host import Total
from batchmeter.ledger import serialize
from batchmeter.ledger.claims import in_order
from batchmeter.ledger.files import FRESH
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Millis
from batchmeter.ledger.session import Session
from batchmeter.models import LineCounts, ModelUsage

from . import rolling

PRUNE_BLOCK = 500
"""Batches forgotten per transaction, so that nobody waits long for the write lock."""
FILE_PAGE = 5000
"""Files looked at per transaction; likewise."""
Key = tuple[str, str, str]
"""Provider, account and status."""


async def prune(ledger: Ledger, *, settled_before: Millis) -> int:
    """Forget batches settled before then, with their events, unless a delivery is pending; returns how many.

    None of them goes before its endings are in the sums.
    """
    database = ledger.database
    await rolling.roll(database)
    pruned = 0
    while block := await database.write(partial(prune_batches, settled_before=settled_before)):
        pruned += block
    await database.write(partial(_prune_answers, before=settled_before))
    after: tuple[str, str] | None = ("", "")
    while after is not None:
        after = await database.write(partial(_prune_files, before=settled_before, after=after))
    return pruned


async def prune_batches(session: Session, settled_before: Millis) -> int:
    """One block of them; 0 when there are no more."""
    await session.run("lock_pruned_totals")
    mark = await rolling.lock_mark(session)
    old = await session.rows("prunable", before=settled_before, mark=mark, limit=PRUNE_BLOCK)
    batches = [{"account": row["account"], "batch_id": row["batch_id"]} for row in old]
    await _add_up(session, [{"pk": row["pk"]} for row in old])
    await rolling.keep_pruned(session, [{"pk": row["pk"]} for row in old])
    await session.each("prune_events", batches)
    await session.each("prune_intents", [{"intent_id": row["intent_id"]} for row in old if row["intent_id"]])
    await session.each("forget_late_look", in_order(batches))
    await session.each("prune_batches", [{"pk": row["pk"]} for row in old])
    return len(old)


async def _add_up(session: Session, batches: Sequence[Mapping[str, object]]) -> None:
    settled = await session.decoded(await session.each("settlements_of", batches), serialize.settlement)
    alike = by_key(settled)
    named = [{"provider": provider, "account": account, "status": status} for provider, account, status in alike]
    known = await session.decoded(await session.each("pruned_totals_of", named), serialize.total)
    earlier = {(one.provider, one.account, one.status): one for one in known}
    sums = [with_more(earlier.get(key, Total(*key)), settlements) for key, settlements in alike.items()]
    await session.each(
        "keep_pruned_totals", [{**key, "sums": serialize.dump_total(one)} for key, one in zip(named, sums, strict=True)]
    )


async def pruned_totals(session: Session) -> list[Total]:
    """Sums of pruned batches."""
    return await session.decoded(await session.rows("pruned_totals"), serialize.total)


def by_key(settlements: Iterable[Settlement]) -> dict[Key, list[Settlement]]:
    """Groups that are added up together; a sandbox's settlements are left out."""
    alike: defaultdict[Key, list[Settlement]] = defaultdict(list)
    for one in settlements:
        if not one.invented:
            alike[one.provider, one.account, one.status].append(one)
    return alike


def with_more(total: Total, settlements: Sequence[Settlement]) -> Total:
    """The sums with those of more batches of the same key, at least one."""
    models = dict(total.models)
    for settlement in settlements:
        for model, share in settlement.models.items():
            models[model] = _sum(models.get(model, ModelUsage()), share)
    counts = [total.request_counts, *(one.request_counts for one in settlements)]
    began = [one.settled_at for one in settlements] + ([] if total.since is None else [total.since])
    took = [one.times.total_seconds for one in settlements if one.times.total_seconds is not None]
    return replace(
        total,
        batches=total.batches + len(settlements),
        since=min(began),
        request_counts=LineCounts(
            **{name: sum(getattr(one, name) for one in counts) for name in LineCounts.model_fields}
        ),
        models=models,
        known=sum((one.cost.known for one in settlements), total.known),
        durations=total.durations.plus(took),
    )


def _sum(one: ModelUsage, other: ModelUsage) -> ModelUsage:
    costs = [share.cost for share in (one, other) if share.cost is not None]
    return ModelUsage(
        lines=one.lines + other.lines,
        usage=one.usage + other.usage,
        cost=sum(costs, Decimal(0)) if costs else None,
        known=one.known + other.known,
        unknown=dict(Counter(one.unknown) + Counter(other.unknown)),
    )


async def _prune_answers(session: Session, before: Millis) -> None:
    await session.run("prune_closed_intents", before=before)
    await session.run("prune_answers", before=before)


async def _prune_files(session: Session, before: Millis, after: tuple[str, str]) -> tuple[str, str] | None:
    """One page of all files: those not used since then, nor since any batch that is kept; the last one looked at.

    A batch's files are never older than itself, so what is older than all batches is no batch's.
    """
    oldest = await session.row("oldest_batch")
    floor = (before if oldest is None else min(before, oldest["recorded_at"])) - FRESH
    page = await session.rows("old_files", before=floor, after_file=after[0], after_account=after[1], limit=FILE_PAGE)
    old = [{"file_id": row["file_id"], "account": row["account"]} for row in page if row["old"]]
    await session.each("prune_files", old, before=floor)
    return (page[-1]["file_id"], page[-1]["account"]) if page else None
