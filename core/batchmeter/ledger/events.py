"""Events: rendered once, numbered in order, handed out to loggers as deliveries."""

from collections.abc import Collection

from batchmeter.events import AnyEvent, EventType

from . import rows
from .records import Millis, StoredEvent
from .session import Session


async def add_event(session: Session, event: AnyEvent, loggers: Collection[str]) -> None:
    """The event and its deliveries; an event id that exists already is an error, never a second delivery."""
    row = await session.row(
        "add_event",
        id=event.id,
        type=event.type,
        account=event.account,
        batch_id=event.batch_id,
        revision=event.revision,
        payload=rows.dump(event).encode(),
        place=0,
    )
    assert row is not None
    session.signal("deliveries")
    if loggers:
        await session.run("add_deliveries", seq=row["seq"], loggers=sorted(set(loggers)))


async def loggers_of_batch(session: Session, account: str, batch_id: str) -> set[str]:
    found = await session.rows("loggers_of_batch", account=account, batch_id=batch_id, place=0)
    return {row["logger"] for row in found}


async def events(
    session: Session,
    *,
    types: Collection[EventType] | None = None,
    after: int = 0,
    since: Millis | None = None,
    batch_id: str | None = None,
    key: str | None = None,
    limit: int = 1000,
) -> list[StoredEvent]:
    """In recorded order; `key` is the id of the proxy key whose batches they are about."""
    await session.rows("fence_events")
    found = await session.rows(
        "list_events", types=rows.or_none(types), after=after, since=since, batch_id=batch_id, key=key, limit=limit
    )
    return await session.decoded(found, rows.stored_event)
