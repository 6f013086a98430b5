"""The deployment's queue of enqueued tokens: how Azure says that it is full, and when to ask again."""

from batchmeter.errors import APIStatusError
from batchmeter.models import Batch

CODE = "token_limit_exceeded"
_FIRST, _LONGEST = 15.0, 300.0
"""Seconds: the queue drains by batches ending, which takes minutes."""
_LONGEST_ASKED = 3600.0
"""Seconds that a Retry-After counts for at most."""


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
