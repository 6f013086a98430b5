"""Submit once: an intent in the ledger before the call, the batch in its place after it, and a search when the answer
was lost. So no submitted batch is ever unknown, whatever dies in between."""

import asyncio
import logging
import random
import uuid
from collections.abc import Mapping
from dataclasses import replace

from .errors import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    BatchmeterError,
    CreateUnknownError,
    IdempotencyMismatchError,
    LedgerError,
    ProviderError,
    QueueFullError,
    made_nothing,
)
from .host import PlannedBatch
from .ledger.records import Intent, Submission
from .models import Batch
from .parts import RECORDING, Parts
from .providers import BatchRequest, CallOptions, Provider, next_try
from .tracker.build_events import created_event
from .tracker.guards import PATIENCE
from .tracker.metadata_tag import TAG, tag_of, tagged, without_tag
from .tracker.schedule import next_look

log = logging.getLogger("batchmeter")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
"""Seconds between tries to close an intent while the ledger is away."""
_FIRST_LOOK, _LONGEST_LOOK, _LOOKS = 0.05, 1.0, 14
"""Seconds between looks for another process' create with the same key, and how many there are: ten seconds in all."""
_UNDER_WAY = 10_000
"""Milliseconds for which another process' create is waited for."""


async def submit(
    parts: Parts,
    provider: Provider,
    request: BatchRequest,
    options: CallOptions,
    submission: Submission,
    *,
    idempotency_key: str | None = None,
    rivals: tuple[str, ...] = (),
    request_sha256: str | None = None,
    tag: bool = True,
    wait: bool = True,
) -> Batch:
    """The batch as the provider made it, without our tag; its `acreate_batch` is recorded.

    With an `idempotency_key` that was used before at this account, the first one; so where one of its `rivals` was,
    keys for some of the same requests. IdempotencyMismatchError where `request_sha256` says that it was used for
    something else. Raises the provider's error when it refused, CreateUnknownError when nobody can tell yet whether it
    exists. Where the account waits for room in a full queue, so does this, unless told not to; a refused create made
    nothing, so that each try is a create of its own.
    """
    submission = _with_callbacks(parts, submission)
    asked_at, digest = parts.ledger.now(), request_sha256
    draft = Intent(str(uuid.uuid4()), submission, idempotency_key, asked_at, request_sha256=digest, rivals=rivals)
    earlier: Intent | None = None
    if idempotency_key is not None and parts.plugins.guarded:  # a repeat is nothing to ask the plugins about
        earlier = await parts.ledger.intent_of(provider.account, idempotency_key)
    began, attempt = parts.ledger.now(), 0
    while True:
        if earlier is not None:
            _check_same(draft, earlier)
            first = await _repeat(parts, provider, earlier, tag=tag)
            if first is not None:
                return first
        planned, draft = await _ask(parts, provider, draft, request.metadata, wait=wait)
        intent = await _open_intent(parts, draft, planned)
        if intent.id != draft.id:
            await parts.guards.dropped(planned, "an earlier submission has its idempotency key")
            earlier = intent
            continue
        try:
            return await _create(parts, provider, request, options, intent, tag=tag)
        except BatchmeterError as error:
            now, at = parts.ledger.now(), None
            if wait and isinstance(error, APIStatusError):
                at = next_try(provider, error, attempt, since=began, ended=now)
            if at is None:
                await _drop(parts, planned, error)
                raise
        earlier, attempt = None, attempt + 1
        log.info("account %s: its queue is full; try %d in %g s", provider.account, attempt + 1, (at - now) / 1000)
        await parts.sleep((at - now) / 1000)


async def _create(
    parts: Parts, provider: Provider, request: BatchRequest, options: CallOptions, intent: Intent, *, tag: bool
) -> Batch:
    """The call, and what its answer says of the intent; however it ends, calls that wait for this one go on."""
    ended = parts.creates[intent.id] = asyncio.Event()
    if tag and (able := provider.capabilities).metadata_tag:
        metadata = tagged(request.metadata, intent.id, room=able.max_metadata_pairs)
        request = replace(request, metadata=metadata)
    try:
        batch = _with_an_id(await provider.create_batch(request, options), provider)
    except (APIStatusError, APIConnectionError, APIResponseError) as error:
        if made_nothing(error):
            await _free(parts, intent.id, f"refused: {error}")
            raise
        parts.lost.append(intent.id)
        return await _search(parts, provider, intent, error, tagged=intent.id in (request.metadata or {}).values())
    except BatchmeterError as error:
        # Found before anything was sent: a missing key, a bad argument, an input file that never got ready.
        await _free(parts, intent.id, f"not sent: {type(error).__name__}")
        raise
    except BaseException:
        parts.lost.append(intent.id)
        log.warning("create at %s was interrupted; intent %s stays open until it is known", provider.account, intent.id)
        raise
    else:
        return await parts.finish(_record(parts, intent, batch))
    finally:
        parts.creates.pop(intent.id, None)
        ended.set()


async def _ask(
    parts: Parts, provider: Provider, draft: Intent, metadata: Mapping[str, str] | None, *, wait: bool
) -> tuple[PlannedBatch | None, Intent]:
    """Before anything is written or sent, so that a refusal leaves nothing behind; where it is no for now, again."""
    pause = _FIRST_PAUSE
    while True:
        begun = replace(draft, created_at=parts.ledger.now())
        try:
            return await parts.guards.ask(provider, draft.submission, draft.id, metadata), begun
        except QueueFullError as full:
            if not wait or not full.waits:
                raise
            log.info("account %s: %s; trying again", provider.account, full)
        await parts.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _drop(parts: Parts, planned: PlannedBatch | None, error: BatchmeterError) -> None:
    """Only where no batch can have come of it; what nobody knows is left to the tracker, which looks for it."""
    if isinstance(error, ProviderError) and made_nothing(error):
        await parts.guards.dropped(planned, f"refused: {error}")
    elif not isinstance(error, ProviderError | LedgerError):
        await parts.guards.dropped(planned, f"not sent: {error}")


async def _open_intent(parts: Parts, draft: Intent, planned: PlannedBatch | None) -> Intent:
    """The intent in the ledger; or the earlier one that has its idempotency key."""
    until = draft.created_at + PATIENCE if planned else None
    opening = asyncio.ensure_future(parts.ledger.open_intent(draft, until=until))
    try:
        return await asyncio.shield(opening)
    except LedgerError:  # it may have been written all the same, and keeps its key
        parts.start(_free_later(parts, draft.id, "not sent: the ledger did not answer"))
        raise
    except asyncio.CancelledError:
        parts.start(_free_opened(parts, opening, draft.id), RECORDING)
        raise


async def _free_opened(parts: Parts, opening: asyncio.Future[Intent], intent_id: str) -> None:
    """A client that closes waits for this: no other process could tell that nothing was sent."""
    await asyncio.wait({opening})
    await _free(parts, intent_id, "not sent: interrupted")


async def _free(parts: Parts, intent_id: str, reason: str) -> None:
    """Nothing was made, so the idempotency key is free again; as soon as the ledger answers, if it does not now."""
    try:
        await parts.ledger.close_intent(intent_id, reason)
    except LedgerError as error:
        log.warning("intent %s cannot be closed yet: %s", intent_id, error)
        parts.start(_free_later(parts, intent_id, reason))


async def _free_later(parts: Parts, intent_id: str, reason: str) -> None:
    """Until the ledger answers; a process that ends before leaves it to the tracker."""
    pause = _FIRST_PAUSE
    while True:
        await parts.sleep(pause)
        try:
            return await parts.ledger.close_intent(intent_id, reason)
        except LedgerError:
            pause = min(pause * 2, _LONGEST_PAUSE)


def _with_callbacks(parts: Parts, submission: Submission) -> Submission:
    """This program's callbacks hear of its batches, whichever process records their events or submits them again."""
    callbacks = tuple(dict.fromkeys((*submission.callbacks, *parts.plugins.callbacks)))
    return submission if callbacks == submission.callbacks else replace(submission, callbacks=callbacks)


def _with_an_id(batch: Batch, provider: Provider) -> Batch:
    if not batch.id.strip():
        raise APIResponseError(f"{provider.endpoint}: a create was answered with a batch that has no id")
    return batch


def _check_same(intent: Intent, first: Intent) -> None:
    if None in (intent.request_sha256, first.request_sha256) or intent.request_sha256 == first.request_sha256:
        return
    made = f"batch {first.batch_id}" if first.batch_id else "a batch"
    raise IdempotencyMismatchError(
        f"idempotency key {intent.idempotency_key!r} was used before, with another input or other options, for {made}: "
        "repeat a request with its own key, and give another request another key"
    )


async def _repeat(parts: Parts, provider: Provider, intent: Intent, *, tag: bool) -> Batch | None:
    """The first create with this key: known, waited for while it is under way, or looked for.

    None where it made nothing, so that its key is free.
    """
    under_way = parts.creates.get(intent.id)
    if under_way is not None:
        await under_way.wait()
        intent = await parts.ledger.intent(intent.id) or intent
    if intent.state == "closed":
        return None
    if intent.batch_id is not None:
        tracked = await parts.ledger.get_batch(intent.batch_id, intent.submission.account)
        if tracked is not None:
            return without_tag(tracked.batch)
    error = APIConnectionError("an earlier create with this idempotency key has no answer yet")
    try:
        return await _search(parts, provider, intent, error, tagged=tag and provider.capabilities.metadata_tag)
    except CreateUnknownError:
        waited = under_way is not None or intent.id in parts.lost
        if waited or intent.state != "open" or parts.ledger.now() - intent.created_at > _UNDER_WAY:
            raise
        known = await _elsewhere(parts, intent)
        if known.state == "open":
            raise
    return await _repeat(parts, provider, known, tag=tag)


async def _elsewhere(parts: Parts, intent: Intent) -> Intent:
    """The intent of a process that may be about to get its answer: as soon as it has, or after ten seconds."""
    pause = _FIRST_LOOK
    for _ in range(_LOOKS):
        await parts.sleep(pause)
        found = await parts.ledger.intent(intent.id)
        if found is None or found.state != "open":
            return found or replace(intent, state="closed")
        pause = min(pause * 2, _LONGEST_LOOK)
    return intent


async def _search(parts: Parts, provider: Provider, intent: Intent, error: ProviderError, *, tagged: bool) -> Batch:
    """The batch whose answer was lost, if it is listed; else the error, with the intent left open to find it."""
    found = await parts.tracker.find_lost_create(provider, intent)
    if found is not None:
        return await parts.finish(_record(parts, intent, found))
    source = intent.submission.input_file_id or ""
    # A batch on the caller's own storage carries no metadata.
    by_tag = tagged and "://" not in source and provider.capabilities.lost_create == "metadata"
    sign = f"its metadata {TAG}={intent.id}" if by_tag else f"its input {source}, endpoint and time"
    hint = (
        f"the batch may or may not exist; the tracker looks for it by {sign}, and a repeated call with the same "
        "idempotency_key returns it once it is found"
    )
    if isinstance(error, APIStatusError):
        error.add_note(hint)
        raise error
    raise CreateUnknownError(f"{error}; {hint}", intent_id=intent.id) from error


async def _record(parts: Parts, intent: Intent, batch: Batch) -> Batch:
    # A tagged one need not wait for the disk again: its intent is there, and finds it by its tag.
    durable = tag_of(batch) != intent.id
    try:
        return await record_created(parts, intent.submission, batch, intent_id=intent.id, durable=durable)
    except LedgerError:
        log.exception("batch %s was created but not recorded; the tracker will adopt it by its intent", batch.id)
        return without_tag(batch)


async def record_created(
    parts: Parts, submission: Submission, batch: Batch, *, intent_id: str | None = None, durable: bool = True
) -> Batch:
    """The batch and its `acreate_batch`, in one transaction; then the tracker and the deliverer look.

    Returns it without our tag.
    """
    await parts.ledger.subscribe(parts.plugins.subscriptions)
    submission = _with_callbacks(parts, submission)
    now = parts.ledger.now()
    event = created_event(submission, batch, time=now)
    tracked = await parts.ledger.record_created(
        submission,
        batch,
        event,
        next_poll_at=now + int(next_look(batch, now / 1000, random.random) * 1000),
        intent_id=intent_id,
        durable=durable,
    )
    log.info(
        "batch %s submitted to %s (%s)", tracked.batch_id, submission.account, batch.endpoint or submission.endpoint
    )
    parts.tracker.notify()
    parts.deliverer.notify()
    return without_tag(tracked.batch if tracked.batch_id != batch.id else batch)
