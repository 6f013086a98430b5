"""Deliveries: leased by a logger's worker, finished, reopened."""

from collections.abc import Collection, Sequence

from batchmeter.events import AnyEvent, PluginEvent

from . import serialize
from .claims import millis
from .records import Delivery, DeliveryResult, DeliveryState, LoggerGauge, Millis, StoredEvent
from .session import Session
from .subscriptions import Redactors, missing_redactors

_FIRST_ROWS = 16


async def claim_deliveries(
    session: Session,
    logger: str,
    *,
    owner: str,
    limit: int,
    lease_seconds: float,
    redactors: Redactors | None = None,
) -> list[Delivery]:
    """Due ones in recorded order; an ending waits for the same batch's `acreate_batch` unless that is dead.

    None at all while a redactor is missing that every event has to pass; `redactors` are those of the worker.
    """
    if redactors is not None and await missing_redactors(session, redactors):
        return []
    taken = await session.rows("claim_deliveries", logger=logger, owner=owner, limit=limit, lease=millis(lease_seconds))
    seqs = sorted(row["event_seq"] for row in taken)
    found = await session.each("get_deliveries", [{"event_seq": seq} for seq in seqs], logger=logger)
    found.sort(key=lambda row: row["seq"])
    return await serialize.readable(session, found, serialize.delivery)


async def finish_deliveries(session: Session, results: Sequence[DeliveryResult]) -> int:
    """Fenced by each delivery's token; returns how many counted."""
    return len(await session.each("finish_deliveries", [_finish(result) for result in results]))


def _finish(result: DeliveryResult) -> dict[str, object]:
    return {
        "event_seq": result.delivery.stored.seq,
        "logger": result.delivery.logger,
        "token": result.delivery.token,
        "state": result.state,
        "next_attempt_at": result.next_attempt_at,
        "error": serialize.storable(result.error),
    }


async def deliveries(
    session: Session, *, logger: str | None = None, state: DeliveryState | None = None, limit: int = 1000
) -> list[Delivery]:
    found = await session.rows("list_deliveries", logger=logger, state=state, limit=limit)
    return await serialize.readable(session, found, serialize.delivery)


async def replay(session: Session, logger: str, *, since: Millis | None = None, dead_only: bool = False) -> int:
    """Make events due again for this logger, also those from before it was enabled; returns how many."""
    session.signal("deliveries")
    reopened = await session.run(
        "reopen_deliveries", logger=logger, since=since, dead_only=dead_only, every=not dead_only
    )
    if dead_only:
        return reopened
    return reopened + await session.run("backfill_deliveries", logger=logger, since=since)


async def next_delivery_at(session: Session, loggers: Collection[str]) -> Millis | None:
    due = await session.each("next_delivery", [{"logger": name} for name in dict.fromkeys(loggers)])
    return min((row["due"] for row in due), default=None)


async def gauges(session: Session) -> list[LoggerGauge]:
    return [
        LoggerGauge(row["logger"], row["pending"], row["dead"], row["delivered"], row["oldest_pending_at"])
        for row in await session.rows("gauges")
    ]


async def add_event(
    session: Session, event: AnyEvent | PluginEvent, callbacks: Collection[str], batch_id: str | None = None
) -> None:
    """The event and its deliveries to whoever is subscribed, and to these callbacks.

    An event id that exists already is an error, never a second delivery. `batch_id` is the ledger's name of the batch,
    where another batch has its id by now.
    """
    row = await session.row(
        "add_event",
        id=event.id,
        type=event.type,
        account=event.account,
        batch_id=batch_id or event.batch_id,
        revision=event.revision,
        **serialize.event_columns(event),
        place=0,
    )
    assert row is not None
    session.signal("deliveries")
    await session.run("add_deliveries", seq=row["seq"], type=event.type, callbacks=sorted(set(callbacks)))


async def record_event(session: Session, event: PluginEvent) -> bool:
    """A plugin's own event, owed to whoever handles its kind; False when it is recorded already."""
    if await session.row("has_event", id=event.id) is not None:
        return False
    await add_event(session, event, ())
    return True


async def events(
    session: Session,
    *,
    types: Collection[str] | None = None,
    after: int = 0,
    since: Millis | None = None,
    batch_id: str | None = None,
    key: str | None = None,
    limit: int = 1000,
    most_bytes: int | None = None,
) -> list[StoredEvent]:
    """In recorded order; `key` is the id of the proxy key whose batches they are about.

    Ends early, behind the first two, once their payloads have more than `most_bytes` together.
    """
    await session.rows("fence_events")
    chosen = {"types": serialize.or_none(types), "since": since, "batch_id": batch_id, "key": key}
    found, size = list[StoredEvent](), 0
    while step := _step(limit - len(found), len(found), size, most_bytes):
        page = await session.rows("list_events", after=after, limit=step, **chosen)
        readable = await serialize.readable(session, page, serialize.stored_event)
        found += readable
        size += sum(len(stored.payload) for stored in readable)
        if len(page) < step:
            break
        after = page[-1]["seq"]  # one that cannot be read ends no page: whoever pages would take it for the last
    return found


def _step(left: int, count: int, size: int, most_bytes: int | None) -> int:
    """Rows to read next: a few, then as many as fit, by the size of those that were read."""
    if most_bytes is None or not left:
        return left
    if not count:
        return min(left, _FIRST_ROWS)
    room = most_bytes - size
    return min(left, room * count // size + 1) if room >= 0 else min(left, max(2 - count, 0))
