"""When to try again, and after how long: the official OpenAI SDK's policy."""

import random
from typing import Literal

from batchmeter import errors

Retry = Literal["always", "never"]

MAX_RETRY_AFTER = 120.0
"""Seconds; a provider that asks for more is not asked again."""
_STATUSES = frozenset({408, 409, 429, *range(500, 600)})


def retry_delay(error: errors.APIStatusError, attempt: int) -> float | None:
    """Seconds until the next try; None: do not retry. `attempt` counts from 0."""
    said = error.headers.get("x-should-retry")
    if said == "false" or error.code == "insufficient_quota":
        return None
    if said != "true" and error.status_code not in _STATUSES:
        return None
    wait = error.retry_after
    if wait is not None and wait > MAX_RETRY_AFTER:
        return None
    return wait or backoff(attempt)


def backoff(attempt: int) -> float:
    """0.5 s doubling to 8 s, less up to a quarter."""
    return min(0.5 * 2.0**attempt, 8.0) * (1 - 0.25 * random.random())  # noqa: S311 - jitter, not a secret
