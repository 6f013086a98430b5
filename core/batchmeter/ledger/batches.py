"""Batches: recorded, observed, woken and looked up; and the intents to create them."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from batchmeter.events import BatchCreated, event_id
from batchmeter.host import SubmissionState
from batchmeter.models import Batch

from . import serialize
from .claims import HORIZON, in_order
from .files import FRESH, output_columns, output_ids, use_input
from .outbox import add_event
from .records import Intent, Millis, Submission, TrackedBatch, event_name, is_another, is_same
from .session import Row, Session

log = logging.getLogger("batchmeter")


async def record_created(
    session: Session,
    submission: Submission,
    batch: Batch,
    event: BatchCreated,
    callbacks: Collection[str],
    next_poll_at: Millis,
    intent_id: str | None,
    token: int = 0,
) -> TrackedBatch:
    """`token`: the row's first; claims of an earlier batch with this id have lower ones."""
    if intent_id is not None and not await use_intent(session, intent_id, batch.id):
        twin = await _second_id(session, intent_id, batch)
        if twin is not None:
            return twin
    columns: dict[str, object] = {
        "account": submission.account,
        "batch_id": batch.id,
        **serialize.submission_columns(submission),
        "next_poll_at": next_poll_at,
        "token": token,
        "intent_id": intent_id,
        "key_id": submission.attribution.key,
        **serialize.snapshot_columns(batch),
    }
    owed = sorted({*submission.callbacks, *callbacks})
    whole = session.has("record_whole")  # each round trip to a server is one that a submission waits for
    if whole:
        row = await session.row("record_whole", **columns, **_beside(submission, batch, event, owed))
    else:
        row = await session.row("add_batch", **columns)
    if row is None:
        held = await session.row("lock_batch", account=submission.account, batch_id=batch.id)
        if held is not None:  # else it has another name by now, or is pruned
            known = serialize.tracked(held)
            ours = intent_id is not None and known.intent_id == intent_id
            differs = is_another(known.batch, batch) if submission.adopted else not is_same(known.batch, batch)
            if ours or not differs:
                return await _known(session, known, intent_id)
            await _retire(session, held["pk"], known, f"{batch.id}~{held['pk']}")
            token = held["lease_token"] + 1
            submission = replace(submission, id_reused=held["pk"])
            name = event_name(submission, batch.id)
            event = event.model_copy(update={"id": event_id(event.account, name, event.type)})
        return await record_created(session, submission, batch, event, callbacks, next_poll_at, intent_id, token)
    session.signal("batches")
    session.signal("deliveries")
    if not whole:
        await add_event(session, event, owed)
        await use_input(session, submission)
        await session.each("put_file", output_columns(submission.account, batch, submission))
    return serialize.tracked_as(row, submission, batch)


def _beside(submission: Submission, batch: Batch, event: BatchCreated, callbacks: list[str]) -> dict[str, object]:
    """Columns for the other tables."""
    return {
        "event_id": event.id,
        "type": event.type,
        "revision": event.revision,
        **serialize.event_columns(event),
        "callbacks": callbacks,
        "file_id": output_ids(batch),
        "attribution": serialize.dump(submission.attribution),
        "input_file_id": submission.input_file_id,
        "fresh": FRESH,
    }


async def _known(session: Session, known: TrackedBatch, intent_id: str | None) -> TrackedBatch:
    if intent_id is None or known.intent_id is not None:
        return known
    await session.run("link_intent", account=known.account, batch_id=known.batch_id, intent_id=intent_id)
    return replace(known, intent_id=intent_id)


async def _second_id(session: Session, intent_id: str, batch: Batch) -> TrackedBatch | None:
    """The batch that this create is known to have made, where a gateway gives it another id now."""
    intent = await session.row("get_intent", id=intent_id)
    if intent is None or intent["batch_id"] in {None, batch.id}:
        return None
    row = await session.row("get_batch", account=intent["account"], batch_id=intent["batch_id"])
    if row is None or not is_same(serialize.tracked(row).batch, batch):
        return None
    return serialize.tracked(row)


async def _retire(session: Session, pk: int, known: TrackedBatch, retired: str) -> None:
    """A server uses a batch's id again: the earlier one keeps its row, events and settlements under a name of its own.

    An open one is due now: nobody can ask for it any more.
    """
    names = {"account": known.account, "batch_id": known.batch_id, "retired": retired}
    log.warning(
        "account %s: its server uses the id %s again: the earlier batch is %s from now on",
        known.account,
        known.batch_id,
        retired,
    )
    for revision in await session.rows("settlements_of_batch", pk=pk):
        settlement = serialize.settlement(revision).model_copy(update={"batch_id": retired})
        columns = serialize.settlement_columns(settlement, revision["line_groups"])
        await session.run("rename_settlement", pk=pk, revision=revision["revision"], **columns)
    for statement in ("rename_events", "rename_intent", "rename_batch", "forget_late_look"):
        await session.run(statement, **names)
    session.signal("batches")


async def observe(session: Session, account: str, batch: Batch) -> TrackedBatch | None:
    """A newer snapshot, seen by anyone: store it; if it is final, make the batch due now. None: not tracked."""
    rows = await session.rows("lock_batch", account=account, batch_id=batch.id)
    observed = await _observe(session, [(serialize.tracked(row), row, batch) for row in rows])
    return observed[0] if observed else None


async def observe_endings(session: Session, account: str, ended: Sequence[Batch]) -> set[str]:
    """`observe` for many in few trips: after an outage lists show a hundred. Returns the ids not settled yet."""
    shown = {batch.id: batch for batch in ended}
    names = in_order([{"account": account, "batch_id": batch_id} for batch_id in shown])
    locked = await session.each("lock_batches", names)
    known = await serialize.readable(session, locked, lambda row: (serialize.tracked(row), row, shown[row["batch_id"]]))
    return {tracked.batch_id for tracked in await _observe(session, known) if tracked.settled_at is None}


async def _observe(session: Session, shown: Sequence[tuple[TrackedBatch, Row, Batch]]) -> list[TrackedBatch]:
    """Record snapshots of batches whose rows are locked; returns the batches as the ledger knows them now."""
    found: list[TrackedBatch] = []
    changes: list[dict[str, object]] = []
    outputs: list[dict[str, object]] = []
    for known, row, batch in shown:
        columns = serialize.snapshot_columns(batch)
        # The same final snapshot again is no news: it must not undo the back-off of whoever waits for its output.
        again = row["snapshot"] == columns["snapshot"]
        if again or (row["ended"] and not batch.ended) or is_another(known.batch, batch):
            found.append(known)
            continue
        changes.append({"pk": row["pk"], "news": batch.ended, **columns})
        outputs += output_columns(known.account, batch, known.submission)
        if batch.ended:
            session.signal("batches")
    found += [serialize.tracked(row) for row in await session.each("observe_batches", changes)]
    await session.each("put_file", outputs)
    return found


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


async def ids_from(session: Session, prefix: str, *, limit: int) -> list[str]:
    """Batch ids that begin so, in order."""
    rows = await session.rows("ids_from", prefix=prefix, limit=limit)
    return [row["batch_id"] for row in rows]


async def batches_of_id(session: Session, batch_id: str) -> list[TrackedBatch]:
    """One for each account that has this id, newest first."""
    return await serialize.readable(session, await session.rows("batches_of_id", batch_id=batch_id), serialize.tracked)


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
    return await serialize.readable(session, found, serialize.tracked)


async def store_intents(session: Session, wanted: Sequence[tuple[Intent, Millis | None]]) -> list[Intent | None]:
    """The intents that were stored, or the ones with the same account and idempotency key, unless closed; None for one too late.

    A closed one with the same id is open again: the next try of a refused create.
    """
    news = [
        replace(intent, created_at=intent.created_at or session.now, state="open", batch_id=None, reason=None)
        if until is None or session.now <= until
        else None
        for intent, until in wanted
    ]
    await _lock_rivals(session, news)
    items = [_intent_columns(new) for new in news if new is not None and not new.rivals]
    # In one order, so that no two processes wait for each other's keys.
    items.sort(key=lambda item: (str(item["account"]), str(item["key"])))
    added = {row["id"] for row in await session.each("add_intent", items)}
    return [new if new is None or new.id in added else await _stored(session, new) for new in news]


async def _lock_rivals(session: Session, news: Collection[Intent | None]) -> None:
    """Lock the keys of these intents and of their rivals: until this transaction ends, nobody else stores a rival."""
    rivals = [new for new in news if new is not None and new.rivals]
    names = {f"{new.submission.account}:{key}" for new in rivals for key in (*new.rivals, new.idempotency_key)}
    await session.each("lock_name", [{"id": name} for name in sorted(names)])


async def _stored(session: Session, new: Intent) -> Intent:
    for key in new.rivals:
        if rival := await intent_of(session, new.submission.account, key):
            return rival
    if new.rivals and await session.each("add_intent", [_intent_columns(new)]):
        return new
    return await _earlier(session, new)


def _intent_columns(new: Intent) -> dict[str, object]:
    names = {"id": new.id, "account": new.submission.account, "key": new.idempotency_key}
    submission = serialize.submission_columns(new.submission)
    return {**submission, **names, "created_at": new.created_at, "request_sha256": new.request_sha256}


async def _earlier(session: Session, new: Intent) -> Intent:
    found = await session.row("reopen_intent", id=new.id, created_at=new.created_at) or await session.row(
        "find_intent", id=new.id, account=new.submission.account, key=new.idempotency_key
    )
    return new if found is None else serialize.intent(found)


async def close_intent(session: Session, intent_id: str, reason: str) -> None:
    await session.run("close_intent", id=intent_id, reason=serialize.storable(reason))


async def use_intent(session: Session, intent_id: str, batch_id: str) -> bool:
    """The create is known to have made this batch, even if the intent had been given up. False: it has made one already."""
    if await session.run("use_intent", id=intent_id, batch_id=batch_id, if_open=True):
        return True
    await session.run("free_key", id=intent_id)
    return await session.run("use_intent", id=intent_id, batch_id=batch_id) > 0


async def open_intents(
    session: Session, *, created_before: Millis, limit: int = 100, account: str | None = None
) -> list[Intent]:
    """The oldest `limit` of each account; also those that a clock which ran ahead has dated hours after now."""
    found = await session.rows("open_intents", before=created_before, account=account, limit=limit, horizon=HORIZON)
    return await serialize.readable(session, found, serialize.intent)


async def get_intent(session: Session, intent_id: str) -> Intent | None:
    found = await session.row("get_intent", id=intent_id)
    return None if found is None else serialize.intent(found)


async def intent_states(session: Session, intent_ids: Collection[str]) -> dict[str, SubmissionState]:
    """Of those that were written."""
    found = await session.rows("intents", ids=list(intent_ids))
    return {row["id"]: SubmissionState(row["state"], row["account"], row["batch_id"]) for row in found}


async def intent_of_batch(session: Session, account: str, batch_id: str) -> str | None:
    row = await session.row("intent_of_batch", account=account, batch_id=batch_id)
    return None if row is None else row["intent_id"]


async def intent_of(session: Session, account: str, idempotency_key: str) -> Intent | None:
    """The one that a create with this key would be given in place of a new one."""
    found = await session.row("find_intent", id="", account=account, key=idempotency_key)
    return None if found is None else serialize.intent(found)
