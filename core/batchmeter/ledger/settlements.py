"""Settlements: what each batch came to, once per revision, with the event that tells it."""

from collections.abc import Collection

from batchmeter.events import BatchFailed, BatchSucceeded, Settlement
from batchmeter.pricing.groups import Groups

from . import rows
from .batches import at
from .events import add_event, loggers_of_batch
from .files import own_outputs
from .port import Claim, Millis
from .session import Session


async def settle(
    session: Session,
    claim: Claim,
    settlement: Settlement,
    groups: Groups,
    event: BatchSucceeded | BatchFailed,
    loggers: Collection[str],
) -> bool:
    row = await session.row(
        "settle_batch",
        account=claim.tracked.account,
        batch_id=claim.tracked.batch_id,
        token=claim.token,
        **rows.snapshot_columns(settlement.batch),
    )
    if row is None:
        return False
    await own_outputs(session, claim.tracked.account, settlement.batch)
    return await _store(session, row["pk"], settlement, groups, event, loggers)


async def revise(
    session: Session,
    settlement: Settlement,
    groups: Groups,
    event: BatchSucceeded | BatchFailed,
    loggers: Collection[str],
) -> bool:
    row = await session.row("settled_batch", account=settlement.account, batch_id=settlement.batch_id)
    return row is not None and await _store(session, row["pk"], settlement, groups, event, loggers)


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
    position: dict[str, object] = {}
    if after is not None:
        cursor = await at(session, after, None)
        if cursor is None or cursor["settled_at"] is None:
            return []
        position = {"after_time": cursor["settled_at"], "after_pk": cursor["pk"]}
    found = await session.rows("list_settlements", since=since, limit=limit, **position)
    return await session.decoded(found, rows.settled)
