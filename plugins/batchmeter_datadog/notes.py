"""An ended batch as an entry of Datadog's event stream."""

from dataclasses import dataclass
from typing import Literal

from batchmeter.events import AlertEvent, BatchFailed, BatchSucceeded

from .tags import Names


@dataclass(frozen=True, slots=True)
class Note:
    title: str
    text: str
    alert: Literal["success", "warning", "error"]
    group: str
    """Groups a batch's entries; it does not drop a repeated one, which the tag `event_id` tells."""
    happened: int
    """Epoch seconds."""
    tags: Names


def note_of(event: BatchSucceeded | BatchFailed, tags: Names) -> Note:
    counts, cost = event.request_counts, event.cost
    price = f"{cost.total:f} {cost.currency}" if cost.total is not None else f"unknown, at least {cost.known:f}"
    lines = [
        f"{counts.succeeded} of {counts.total} requests succeeded, {counts.failed} failed.",
        f"{event.usage.input_tokens} input and {event.usage.output_tokens} output tokens. Cost: {price}.",
    ]
    failed = isinstance(event, BatchFailed)
    return Note(
        title=f"Batch {event.batch_id} {event.status}"
        + (f" (correction {event.revision})" if event.revision > 1 else ""),
        text="\n".join(lines),
        alert="error" if failed else "warning" if counts.failed or cost.total is None else "success",
        group=event.batch_id,
        happened=int((event.times.ended_at or event.time).timestamp()),
        tags=(*tags, f"event_id:{event.id}"),
    )


def note_of_alert(event: AlertEvent, tags: Names) -> Note:
    about = str(getattr(event, "budget", "") or getattr(event, "subject", ""))
    return Note(
        title=f"{event.type.replace('_', ' ').capitalize()}: {event.kind.replace('_', ' ')} {about}".rstrip(),
        text=event.message,
        alert="error" if event.kind in ("exceeded", "refused", "batch_failed") else "warning",
        group=about or event.type,
        happened=int(event.time.timestamp()),
        tags=(*tags, f"event_id:{event.id}"),
    )
