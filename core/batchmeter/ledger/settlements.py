"""Settlements: what each batch came to, once per revision, with the event that tells it."""

from collections.abc import Collection

from batchmeter.events import BatchFailed, BatchSucceeded, Settlement
from batchmeter.pricing.groups import Groups

from . import rows
from .batches import at
from .events import add_event, loggers_of_batch
from .files import own_outputs
from .port import Claim, Millis, Settled, TrackedBatch
from .session import Session


async def settle(
    session: Session,
    claim: Claim,
    settlement: Settlement,
    groups: Groups,
    event: BatchSucceeded | BatchFailed,
    loggers: Collection[str],
) -> bool:
    if session.has("settle_whole"):
        return await _settle_whole(session, claim, settlement, groups, event, loggers)
    row = await session.row(
        "settle_batch",
        account=claim.tracked.account,
        batch_id=claim.tracked.batch_id,
        token=claim.token,
        **rows.cost_columns(settlement),
        **rows.snapshot_columns(settlement.batch),
    )
    if row is None:
        return False
    await own_outputs(session, claim.tracked.account, settlement.batch)
    return await _store(session, row["pk"], settlement, groups, event, loggers)


async def _settle_whole(
    session: Session,
    claim: Claim,
    settlement: Settlement,
    groups: Groups,
    event: BatchSucceeded | BatchFailed,
    loggers: Collection[str],
) -> bool:
    """The same as `settle`, where the engine can do it in one statement: each round trip to a server counts."""
    batch = settlement.batch
    told = await session.row(
        "settle_whole",
        account=claim.tracked.account,
        batch_id=claim.tracked.batch_id,
        token=claim.token,
        file_id=[file_id for file_id in (batch.output_file_id, batch.error_file_id) if file_id],
        attribution=rows.dump(claim.tracked.submission.attribution),
        revision=settlement.revision,
        settlement=rows.dump(settlement),
        groups=rows.dump_groups(groups),
        event_id=event.id,
        type=event.type,
        payload=rows.dump(event).encode(),
        loggers=sorted(set(loggers)),
        **rows.cost_columns(settlement),
        **rows.snapshot_columns(batch),
    )
    if told is not None:
        session.signal("deliveries")
    return told is not None


async def revise(
    session: Session,
    settlement: Settlement,
    groups: Groups,
    event: BatchSucceeded | BatchFailed,
    loggers: Collection[str],
) -> bool:
    row = await session.row("settled_batch", account=settlement.account, batch_id=settlement.batch_id)
    if row is None or not await _store(session, row["pk"], settlement, groups, event, loggers):
        return False
    await session.run("revise_batch", pk=row["pk"], **rows.cost_columns(settlement))
    return True


async def _store(
    session: Session,
    batch_pk: int,
    settlement: Settlement,
    groups: Groups,
    event: BatchSucceeded | BatchFailed,
    loggers: Collection[str],
) -> bool:
    new = await session.row(
        "add_settlement",
        batch_pk=batch_pk,
        revision=settlement.revision,
        settlement=rows.dump(settlement),
        groups=rows.dump_groups(groups),
    )
    if new is None:
        return False
    earlier = await loggers_of_batch(session, event.account, event.batch_id)
    await add_event(session, event, earlier | set(loggers))
    return True


async def settlement(session: Session, batch_id: str, account: str | None) -> tuple[Settlement, Groups] | None:
    row = await session.row("get_settlement", batch_id=batch_id, account=account)
    return None if row is None else rows.settled(row)


async def settlements(
    session: Session, since: Millis | None, after: str | None, limit: int
) -> list[tuple[Settlement, Groups]]:
    position = await _position(session, after)
    if position is None:
        return []
    found = await session.rows("list_settlements", since=since, limit=limit, **position)
    return await session.decoded(found, rows.settled)


async def costs(
    session: Session, since: Millis | None, until: Millis | None, key: str | None, after: str | None, limit: int
) -> list[Settled]:
    position = await _position(session, after)
    if position is None:
        return []
    found = await session.rows("list_costs", since=since, until=until, key=key, limit=limit, **position)
    return await session.decoded(found, rows.settled_of)


async def failed(session: Session, account: str, since: Millis, after: str | None, limit: int) -> list[TrackedBatch]:
    position = await _position(session, after)
    if position is None:
        return []
    found = await session.rows("list_failed", account=account, since=since, limit=limit, **position)
    return await session.decoded(found, rows.tracked)


async def _position(session: Session, after: str | None) -> dict[str, object] | None:
    """Where a page begins; None for a batch that is not settled."""
    if after is None:
        return {}
    cursor = await at(session, after, None)
    if cursor is None or cursor["settled_at"] is None:
        return None
    return {"after_time": cursor["settled_at"], "after_pk": cursor["pk"]}
