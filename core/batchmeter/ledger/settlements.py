"""Settlements: the result and cost of each batch, once per revision, with the event that reports it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from batchmeter.events import BatchFailed, BatchSucceeded, Settlement
from batchmeter.pricing.groups import Groups

from . import serialize
from .batches import at
from .claims import in_order
from .files import output_columns
from .outbox import add_event
from .records import Claim, Millis
from .session import Session


@dataclass(frozen=True, slots=True)
class Ending:
    """One batch's settlement, with all that is written down together."""

    claim: Claim
    settlement: Settlement
    groups: Groups
    event: BatchSucceeded | BatchFailed
    callbacks: Collection[str]
    """Names of the settling program's callbacks."""
    look_again_at: Millis | None = None
    """Where its output may be listed late."""


async def settle_all(session: Session, endings: Sequence[Ending]) -> list[bool]:
    """Each settlement whole: batch, output files, settlement, event, deliveries. Five trips, however many they are.

    Left out is a batch whose lease was lost (the fence), that is settled, or that has this revision.
    """
    by_place = dict(enumerate(endings))
    columns = in_order([{"place": place, **_columns(ending)} for place, ending in by_place.items()])
    pks = {row["place"]: row["pk"] for row in await session.each("settle_batch", columns)}
    settled = [{**item, "batch_pk": pks[item["place"]]} for item in columns if item["place"] in pks]
    settling = [by_place[item["place"]] for item in settled]
    outputs = [
        output_columns(end.claim.tracked.account, end.settlement.batch, end.claim.tracked.submission)
        for end in settling
    ]
    await session.each("put_file", [output for each in outputs for output in each])
    stored = {row["place"] for row in await session.each("add_settlement", settled)}
    new = [item for item in settled if item["place"] in stored]
    await session.each("add_late_look", [item for item in new if item["look_again_at"] is not None])
    added = await session.each("add_event", new)
    await session.each("add_deliveries", [{"seq": row["seq"], **_owed(by_place[row["place"]])} for row in added])
    if new:
        session.signal("deliveries")
    return [place in stored for place in by_place]


def _owed(ending: Ending) -> dict[str, object]:
    callbacks = {*ending.claim.tracked.submission.callbacks, *ending.callbacks}
    return {"type": ending.event.type, "callbacks": sorted(callbacks)}


def _columns(ending: Ending) -> dict[str, Any]:
    tracked, settlement, event = ending.claim.tracked, ending.settlement, ending.event
    return {
        "account": tracked.account,
        "batch_id": tracked.batch_id,
        "token": ending.claim.token,
        "revision": settlement.revision,
        "look_again_at": ending.look_again_at,
        **serialize.settlement_columns(settlement, serialize.dump_groups(ending.groups)),
        "id": event.id,
        "type": event.type,
        **serialize.event_columns(event),
        **serialize.cost_columns(settlement),
        **serialize.snapshot_columns(settlement.batch),
    }


async def revise(
    session: Session,
    settlement: Settlement,
    groups: Groups,
    event: BatchSucceeded | BatchFailed,
    *,
    callbacks: Collection[str] = (),
) -> bool:
    """A later revision of a settled batch; False if that revision exists."""
    row = await session.row("settled_batch", account=settlement.account, batch_id=settlement.batch_id)
    if row is None:
        return False
    columns = serialize.settlement_columns(settlement, serialize.dump_groups(groups))
    numbers = {"batch_pk": row["pk"], "revision": settlement.revision, "place": 0}
    if await session.row("add_settlement", **numbers, **columns) is None:
        return False
    owed = {*serialize.load_submission(row["submission"]).callbacks, *callbacks}
    await add_event(session, event, owed, settlement.batch_id)
    await session.run("revise_batch", pk=row["pk"], **serialize.cost_columns(settlement))
    return True


async def settlement(session: Session, batch_id: str, account: str | None = None) -> tuple[Settlement, Groups] | None:
    """The newest revision."""
    row = await session.row("get_settlement", batch_id=batch_id, account=account)
    return None if row is None else serialize.settled(row)


async def settlements(
    session: Session, *, since: Millis | None = None, after: str | None = None, limit: int = 1000
) -> list[tuple[Settlement, Groups]]:
    """Newest revision of each, in the order the batches were first settled; `after` as in list_batches."""
    position = await _position(session, after)
    if position is None:
        return []
    found = await session.rows("list_settlements", since=since, limit=limit, **position)
    return await session.decoded(found, serialize.settled)


async def _position(session: Session, after: str | None) -> dict[str, object] | None:
    """Where a page begins; None for a batch that is not settled."""
    if after is None:
        return {}
    cursor = await at(session, after, None)
    if cursor is None or cursor["settled_at"] is None:
        return None
    return {"after_time": cursor["settled_at"], "after_pk": cursor["pk"]}


def cursor_of(settlement: Settlement) -> str:
    """Where the next page of settlements begins; accounts may share ids."""
    return f"{settlement.account}\x1f{settlement.batch_id}"
