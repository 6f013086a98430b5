"""Settlements: what each batch came to, once per revision, with the event that tells it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from batchmeter.events import BatchFailed, BatchSucceeded, Settlement
from batchmeter.pricing.groups import Groups

from . import rows
from .batches import at
from .claims import in_order
from .events import add_event, loggers_of_batch
from .files import own_outputs
from .port import Claim, Millis, Settled, TrackedBatch
from .session import Session


@dataclass(frozen=True, slots=True)
class Ending:
    """One batch's settlement, with all that is written down together."""

    claim: Claim
    settlement: Settlement
    groups: Groups
    event: BatchSucceeded | BatchFailed
    loggers: Collection[str]


async def settle_all(session: Session, endings: Sequence[Ending]) -> list[bool]:
    """In one statement where the engine has it: round trips are what settling costs."""
    if not session.has("settle_all"):
        return [await _settle(session, ending) for ending in endings]
    items = [{"place": place, **_columns(ending)} for place, ending in enumerate(endings)]
    told = {row["place"] for row in await session.each("settle_all", in_order(items))}
    if told:
        session.signal("deliveries")
    return [place in told for place in range(len(endings))]


async def _settle(session: Session, ending: Ending) -> bool:
    tracked, settlement = ending.claim.tracked, ending.settlement
    row = await session.row(
        "settle_batch",
        account=tracked.account,
        batch_id=tracked.batch_id,
        token=ending.claim.token,
        **rows.cost_columns(settlement),
        **rows.snapshot_columns(settlement.batch),
    )
    if row is None:
        return False
    await own_outputs(session, tracked.account, settlement.batch, tracked.submission)
    return await _store(session, row["pk"], settlement, ending.groups, ending.event, ending.loggers)


def _columns(ending: Ending) -> dict[str, object]:
    tracked, settlement, event = ending.claim.tracked, ending.settlement, ending.event
    return {
        "account": tracked.account,
        "batch_id": tracked.batch_id,
        "token": ending.claim.token,
        "output_file_id": settlement.batch.output_file_id,
        "error_file_id": settlement.batch.error_file_id,
        "attribution": rows.dump(tracked.submission.attribution),
        "revision": settlement.revision,
        "settlement": rows.dump(settlement),
        "groups": rows.dump_groups(ending.groups),
        "event_id": event.id,
        "type": event.type,
        "payload": rows.dump(event).encode(),
        "loggers": json.dumps(sorted(set(ending.loggers))),
        **rows.cost_columns(settlement),
        **rows.snapshot_columns(settlement.batch),
    }


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
