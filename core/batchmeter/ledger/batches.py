"""Batches: recorded, observed, woken and looked up; and the intents to create them."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from batchmeter.events import BatchCreated
from batchmeter.models import Batch

from . import serialize
from .claims import HORIZON, in_order
from .files import FRESH, own_outputs, use_input
from .outbox import add_event
from .records import Intent, Millis, Submission, TrackedBatch
from .session import Row, Session


async def record_created(
    session: Session,
    submission: Submission,
    batch: Batch,
    event: BatchCreated,
    loggers: Collection[str],
    next_poll_at: Millis,
    intent_id: str | None,
) -> TrackedBatch:
    if intent_id is not None:
        await use_intent(session, intent_id, batch.id)
    columns: dict[str, object] = {
        "account": submission.account,
        "batch_id": batch.id,
        "submission": serialize.dump_submission(submission),
        "next_poll_at": next_poll_at,
        "intent_id": intent_id,
        "key_id": submission.attribution.key,
        **serialize.snapshot_columns(batch),
    }
    whole = session.has("record_whole")  # each round trip to a server is one that a submission waits for
    if whole:
        row = await session.row("record_whole", **columns, **_beside(submission, batch, event, loggers))
    else:
        row = await session.row("add_batch", **columns)
    if row is None:
        return await _known(session, submission.account, batch.id, intent_id)
    session.signal("batches")
    session.signal("deliveries")
    if not whole:
        await add_event(session, event, loggers)
        await use_input(session, submission)
        await own_outputs(session, submission.account, batch, submission)
    return serialize.tracked_as(row, submission, batch)


def _beside(submission: Submission, batch: Batch, event: BatchCreated, loggers: Collection[str]) -> dict[str, object]:
    """What goes into other tables."""
    return {
        "event_id": event.id,
        "type": event.type,
        "revision": event.revision,
        "payload": serialize.dump(event).encode(),
        "loggers": sorted(set(loggers)),
        "file_id": sorted({file_id for file_id in (batch.output_file_id, batch.error_file_id) if file_id}),
        "attribution": serialize.dump(submission.attribution),
        "input_file_id": submission.input_file_id,
        "fresh": FRESH,
    }


async def _known(session: Session, account: str, batch_id: str, intent_id: str | None) -> TrackedBatch:
    if intent_id is not None:
        await session.run("link_intent", account=account, batch_id=batch_id, intent_id=intent_id)
    row = await session.row("get_batch", account=account, batch_id=batch_id)
    assert row is not None
    return serialize.tracked(row)


async def observe(session: Session, account: str, batch: Batch) -> TrackedBatch | None:
    """A newer snapshot, seen by anyone: store it; if it is final, make the batch due now. None: not tracked."""
    row = await session.row("lock_batch", account=account, batch_id=batch.id)
    if row is None:
        return None
    columns = serialize.snapshot_columns(batch)
    if row["ended"] and not batch.ended:
        return serialize.tracked(row)
    # The same final snapshot again is no news: it must not undo the back-off of whoever waits for its output.
    news = batch.ended and not (row["ended"] and row["snapshot"] == columns["snapshot"])
    if news:
        session.signal("batches")
    updated = await session.row("observe_batch", pk=row["pk"], news=news, **columns)
    await own_outputs(session, account, batch)
    return serialize.tracked(updated or row)


async def observe_endings(session: Session, account: str, ended: Sequence[Batch]) -> set[str]:
    """In one statement where the engine has it: after an outage, lists show a hundred endings each."""
    if not session.has("observe_endings"):
        seen = [await observe(session, account, batch) for batch in ended]
        return {tracked.batch_id for tracked in seen if tracked is not None and tracked.settled_at is None}
    items: list[dict[str, object]] = [
        {
            "account": account,
            "batch_id": batch.id,
            "output_file_id": batch.output_file_id,
            "error_file_id": batch.error_file_id,
            **serialize.snapshot_columns(batch),
        }
        for batch in ended
    ]
    found = await session.each("observe_endings", in_order(items))
    if any(row["news"] for row in found):
        session.signal("batches")
    return {row["batch_id"] for row in found if row["settled_at"] is None}


async def wake(session: Session, account: str, batch_id: str) -> bool:
    """Make an unsettled batch due now (a webhook's hint)."""
    session.signal("batches")
    return await session.run("wake_batch", account=account, batch_id=batch_id) > 0


async def at(session: Session, cursor: str, account: str | None) -> Row | None:
    """The batch that a page ended with: its id, or account, U+001F and id where accounts share ids."""
    row: Row | None = None
    if "\x1f" in cursor:
        owner, _, batch_id = cursor.partition("\x1f")
        row = await session.row("get_batch", batch_id=batch_id, account=owner)
    return row or await session.row("get_batch", batch_id=cursor, account=account)


async def get_batch(session: Session, batch_id: str, account: str | None = None) -> TrackedBatch | None:
    row = await session.row("get_batch", batch_id=batch_id, account=account)
    return None if row is None else serialize.tracked(row)


async def batches_of_id(session: Session, batch_id: str) -> list[TrackedBatch]:
    """One for each account that has this id, newest first."""
    return await session.decoded(await session.rows("batches_of_id", batch_id=batch_id), serialize.tracked)


async def list_batches(
    session: Session,
    *,
    account: str | None = None,
    settled: bool | None = None,
    statuses: Collection[str] | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[TrackedBatch]:
    """Newest first; `after` is a batch id, or account + U+001F + batch id where accounts share ids."""
    before = None
    if after is not None:
        cursor = await at(session, after, account)
        if cursor is None:
            return []
        before = cursor["pk"]
    found = await session.rows(
        "list_batches",
        account=account,
        settled=settled is True,
        unsettled=settled is False,
        statuses=serialize.or_none(statuses),
        before=before,
        limit=limit,
    )
    return await session.decoded(found, serialize.tracked)


async def open_intent(session: Session, intent: Intent) -> Intent:
    """Store the intent, durably; or return the one with the same account and idempotency key, unless closed."""
    new = replace(intent, created_at=intent.created_at or session.now, state="open", batch_id=None, reason=None)
    names = {"id": new.id, "account": new.submission.account, "key": new.idempotency_key}
    submission = serialize.dump_submission(new.submission)
    if await session.row("add_intent", **names, submission=submission, created_at=new.created_at) is not None:
        return new
    found = await session.row("find_intent", **names)
    return new if found is None else serialize.intent(found)


async def close_intent(session: Session, intent_id: str, reason: str) -> None:
    await session.run("close_intent", id=intent_id, reason=serialize.storable(reason))


async def use_intent(session: Session, intent_id: str, batch_id: str) -> None:
    """The create is known to have made this batch, even if the intent had been given up."""
    if await session.run("use_intent", id=intent_id, batch_id=batch_id, if_open=True):
        return
    await session.run("free_key", id=intent_id)
    await session.run("use_intent", id=intent_id, batch_id=batch_id)


async def open_intents(
    session: Session, *, created_before: Millis, limit: int = 100, account: str | None = None
) -> list[Intent]:
    """The oldest `limit` of each account; also those that a clock which ran ahead has dated hours after now."""
    found = await session.rows("open_intents", before=created_before, account=account, limit=limit, horizon=HORIZON)
    return await session.decoded(found, serialize.intent)


async def get_intent(session: Session, intent_id: str) -> Intent | None:
    found = await session.row("get_intent", id=intent_id)
    return None if found is None else serialize.intent(found)


async def intent_of(session: Session, account: str, idempotency_key: str) -> Intent | None:
    """The one that a create with this key would be given in place of a new one."""
    found = await session.row("find_intent", id="", account=account, key=idempotency_key)
    return None if found is None else serialize.intent(found)
