"""Submit once: an intent in the ledger before the call, the batch in its place after it, and a search when the answer
was lost. So no submitted batch is ever unknown, whatever dies in between."""

import logging
import random
import sys
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .errors import APIConnectionError, APIStatusError, CreateUnknownError, LedgerError
from .ledger.port import Intent, Submission
from .models import Batch
from .tracking.events_of import created_event, loggers_for
from .tracking.schedule import next_look
from .tracking.tag import TAG, tagged, without_tag

if TYPE_CHECKING:
    from .client import Parts
    from .providers import BatchRequest, CallOptions, Provider

log = logging.getLogger("batchmeter")


async def submit(
    parts: "Parts",
    provider: "Provider",
    request: "BatchRequest",
    options: "CallOptions",
    submission: Submission,
    *,
    idempotency_key: str | None = None,
    tag: bool = True,
) -> Batch:
    """The batch as the provider made it, without our tag; its `acreate_batch` is recorded.

    With an `idempotency_key` that was used before at this account, the first one. Raises the provider's error when it
    refused, CreateUnknownError when nobody can tell yet whether it exists.
    """
    asked = Intent(str(uuid.uuid4()), submission, idempotency_key, created_at=parts.ledger.now())
    intent = await parts.ledger.open_intent(asked)
    if intent.id != asked.id:
        return await _repeat(parts, provider, intent)
    try:
        batch = await provider.create_batch(_tagged(request, provider, intent) if tag else request, options)
    except APIStatusError as error:
        await _refused(parts, provider, intent, error)
        raise
    except APIConnectionError as error:
        return await _search(parts, provider, intent, error)
    except BaseException:
        log.warning("create at %s was interrupted; intent %s stays open until it is known", provider.account, intent.id)
        raise
    return await _record(parts, intent, batch)


def current_traceparent() -> str | None:
    """The caller's W3C trace context, if OpenTelemetry is in use in this process."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _tagged(request: "BatchRequest", provider: "Provider", intent: Intent) -> "BatchRequest":
    able = provider.capabilities
    if not able.metadata_tag:
        return request
    return replace(request, metadata=tagged(request.metadata, intent.id, room=able.max_metadata_pairs))


async def _repeat(parts: "Parts", provider: "Provider", intent: Intent) -> Batch:
    """The first create with this key: known, or looked for."""
    if intent.batch_id is not None:
        tracked = await parts.ledger.get_batch(intent.batch_id, intent.submission.account)
        if tracked is not None:
            return without_tag(tracked.batch)
    error = APIConnectionError("an earlier create with this idempotency key has no answer yet")
    return await _search(parts, provider, intent, error)


async def _refused(parts: "Parts", provider: "Provider", intent: Intent, error: APIStatusError) -> None:
    """A 4xx made nothing. After a 5xx, or a time-out at a gateway, nobody knows: the intent stays open."""
    if error.status_code < 500 and error.status_code != 408:  # noqa: PLR2004 - 5xx; 408 request timeout
        await parts.ledger.close_intent(intent.id, f"refused: {error.status_code}")
        return
    error.add_note(f"{provider.account} may still have made the batch: intent {intent.id} stays open to find it")


async def _search(parts: "Parts", provider: "Provider", intent: Intent, error: APIConnectionError) -> Batch:
    from .tracking.intents import find_lost_create  # noqa: PLC0415 - needed only when an answer is lost

    if error.never_sent:
        await parts.ledger.close_intent(intent.id, "never sent")
        raise error
    found = await find_lost_create(provider, intent)
    if found is not None:
        return await _record(parts, intent, found)
    raise CreateUnknownError(
        f"{error}; the batch may or may not exist. The tracker looks for it by metadata {TAG}={intent.id}; "
        "repeat the call with the same idempotency_key to get it once it is found",
        intent_id=intent.id,
    ) from error


async def _record(parts: "Parts", intent: Intent, batch: Batch) -> Batch:
    try:
        await record_created(parts, intent.submission, batch, intent_id=intent.id)
    except LedgerError:
        log.exception("batch %s was created but not recorded; the tracker will adopt it by its intent", batch.id)
    return without_tag(batch)


async def record_created(parts: "Parts", submission: Submission, batch: Batch, *, intent_id: str | None = None) -> None:
    """The batch and its `acreate_batch`, in one transaction; then the tracker and the deliverer look."""
    now = parts.ledger.now()
    event = created_event(submission, batch, time=now)
    await parts.ledger.record_created(
        submission,
        batch,
        event,
        loggers=loggers_for(event, parts.plugins.loggers),
        next_poll_at=now + int(next_look(batch, now / 1000, random.random) * 1000),
        intent_id=intent_id,
    )
    parts.tracker.notify()
    parts.deliverer.notify()
