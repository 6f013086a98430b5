"""The deployment's queue of enqueued tokens: how Azure says that it is full, when to ask again, and who does."""

import logging
import math

from batchmeter.errors import (
    APIStatusError,
    BatchmeterError,
    CreateUnknownError,
    LedgerError,
    NotDue,
    ProviderError,
    SubmissionRefusedError,
    UsageError,
    made_nothing,
)
from batchmeter.events import BatchFailed
from batchmeter.host import PluginHost, Tries
from batchmeter.models import Batch
from batchmeter.providers import Provider, next_try, waits_for_room

log = logging.getLogger("batchmeter")

CODE = "token_limit_exceeded"
_FIRST, _LONGEST = 15.0, 300.0
"""Seconds: the queue drains by batches ending, which takes minutes."""
_LONGEST_ASKED = 3600.0
"""Seconds that a Retry-After counts for at most."""
_LOOK_AGAIN = 60.0
"""Seconds until a create that cannot be made now, or whose answer was lost, is looked at again."""


def queue_full(refusal: APIStatusError | Batch) -> bool:
    """True for a refused create (regions that fail fast) and for a batch that failed for it (the others).

    Either made nothing and bills nothing: the same file can be submitted again later.
    """
    if isinstance(refusal, Batch):
        return any(error.code == CODE for error in (refusal.errors.data if refusal.errors else ()))
    return refusal.status_code in (400, 429) and (refusal.code == CODE or CODE.encode() in refusal.content)


def pause(attempt: int, refusal: APIStatusError | Batch) -> float:
    """Seconds until the next try; `attempt` counts from 0."""
    seconds = refusal.retry_after if isinstance(refusal, APIStatusError) else None
    return min(seconds or 0.0, _LONGEST_ASKED) or min(_FIRST * 2.0 ** min(attempt, 10), _LONGEST)


async def submit_again(event: BatchFailed, host: PluginHost) -> None:
    """Returns when a batch that a full queue has failed has its successor, or gets none; NotDue while it has to wait.

    All that is remembered is in the ledger: any process that has the account goes on with it.
    """
    tries = await host.tries(event.account, event.batch_id) if queue_full(event.batch) else None
    if tries is None:
        return
    try:
        provider = host.provider(event.account)
    except UsageError as error:
        raise NotDue(f"a process that has the account submits it again: {error}", after=_LOOK_AGAIN) from error
    now, ended = host.now(), round(event.time.timestamp() * 1000)
    due = next_try(provider, event.batch, tries.attempt, since=tries.since, ended=ended)
    queue = waits_for_room(provider)
    if due is None or queue is None or now - ended > queue.queue_patience * 1000:  # nobody was there in all that time
        return
    if due > now:
        raise NotDue("its queue is full", after=(due - now) / 1000)
    try:
        batch_id = await host.resubmit(event.account, event.batch_id)
    except LedgerError:
        raise
    except BatchmeterError as error:
        after = _after(error, provider, tries, (now - ended) / 1000, now)
        if after is None:
            log.warning("batch %s: not submitted again, it stays failed: %s", event.batch_id, error)
            return
        level = logging.INFO if isinstance(error, CreateUnknownError) else logging.WARNING  # it may exist, and be found
        log.log(level, "batch %s: not submitted again for now: %s", event.batch_id, error)
        raise NotDue(str(error), after=after) from error
    log.info("batch %s: submitted again as %s, try %d", event.batch_id, batch_id, tries.attempt + 2)


def _after(error: BatchmeterError, provider: Provider, tries: Tries, waited: float, now: int) -> float | None:
    """Seconds until the next look, `waited` seconds after the failure; None where there is no more to do.

    A queue that is still full is waited for as long again as it was until now.
    """
    if isinstance(error, SubmissionRefusedError) or (isinstance(error, ProviderError) and not made_nothing(error)):
        return _LOOK_AGAIN  # it is refused for now; or nobody knows whether it was made: another look finds it
    if not isinstance(error, APIStatusError):
        return None
    attempt = max(tries.attempt, int(math.log2(max(waited, _FIRST) / _FIRST))) + 1
    at = next_try(provider, error, attempt, since=tries.since, ended=now)
    return None if at is None else (at - now) / 1000
