"""How long a request waits until its provider's queue may have room for it again."""

from typing import cast

from batchmeter.errors import APIStatusError, seconds_of
from batchmeter.ledger.records import Millis
from batchmeter.models import Batch
from batchmeter.providers import HasQueue, Provider


def waits_for_room(provider: Provider) -> HasQueue | None:
    """None where a full queue is nobody's business but the caller's."""
    # Asked at every submission: whether it is a HasQueue takes Python 3.11 ten times as long.
    patience = seconds_of(getattr(provider, "queue_patience", 0)) or 0.0
    return cast("HasQueue", provider) if patience > 0 else None


def next_try(
    provider: Provider, said: Batch | APIStatusError, attempt: int, *, since: Millis, ended: Millis
) -> Millis | None:
    """When to submit again what ended so; None: the queue is not why, or the time from the first try is used up."""
    queue = waits_for_room(provider)
    pause = seconds_of(queue.queue_pause(said, attempt)) if queue is not None else None
    if queue is None or pause is None or pause * 1000 > since - ended + float(queue.queue_patience) * 1000:
        return None
    return ended + int(max(pause, 0.0) * 1000)
