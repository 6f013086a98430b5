"""Settlements and events, built from the ledger's batch and its metering."""

from datetime import UTC, datetime
from typing import Any

from batchmeter.events import (
    BatchCreated,
    BatchFailed,
    BatchSucceeded,
    BatchTimes,
    EventType,
    Outcome,
    Settlement,
    event_id,
    full_endpoint,
)
from batchmeter.ledger.records import Millis, Submission, TrackedBatch, event_name
from batchmeter.metering.result import Metering
from batchmeter.models import (
    TERMINAL_STATUSES,
    Batch,
    BatchUsage,
    Cost,
    LineCounts,
    ModelUsage,
    Usage,
)

from .metadata_tag import untagged

UNAVAILABLE = "output_unavailable"
"""Reason and note: the answers cannot be read, and never will be."""
BATCH_UNAVAILABLE = "batch_unavailable"
"""Reason and note: the provider no longer knows the batch itself."""
USAGE_MISMATCH = "usage_mismatch"
LINES_MISSING = "lines_missing"
"""Note and reason: the provider counts more lines than its files have."""
_COST_NOTES = frozenset({"price_change_during_batch"})
"""Flags of a cost that deserve a note of their own."""


def with_notes(metering: Metering, *notes: str) -> Metering:
    return metering.model_copy(update={"notes": (*metering.notes, *notes)})


def created_event(submission: Submission, batch: Batch, *, time: Millis) -> BatchCreated:
    """The one `acreate_batch` of a batch. `time` is the ledger's."""
    return BatchCreated(
        id=event_id(submission.account, event_name(submission, batch.id), "acreate_batch"),
        time=moment(time),
        batch=_as_made(batch),
        batch_id=batch.id,
        **_carried(submission, batch),
    )


def settlement_of(
    tracked: TrackedBatch, batch: Batch, metering: Metering, *, time: Millis, revision: int = 1
) -> Settlement:
    """The outcome of a finished batch. One the provider lost while it was open counts as `failed`."""
    reported = reported_usage(batch.usage)
    return Settlement(
        account=tracked.account,
        provider=tracked.submission.provider,
        batch_id=tracked.batch_id,
        batch=_as_made(batch),
        endpoint=full_endpoint(batch.endpoint or tracked.submission.endpoint),
        region=tracked.submission.region,
        revision=revision,
        settled_at=moment(time),
        status=batch.status if batch.status in TERMINAL_STATUSES else "failed",
        request_counts=metering.lines,
        usage=metering.usage,
        cost=metering.cost,
        models=dict(metering.models),
        times=times_of(batch),
        notes=_notes(metering, batch.usage),
        reported_usage=reported,
        reported_cost=metering.reported_cost,
        rates=metering.rates,
        missing=_missing(batch, metering),
        duplicates=metering.duplicates,
    )


def ending_event(submission: Submission, settlement: Settlement) -> BatchSucceeded | BatchFailed:
    """`batch_success` for a completed batch, `batch_failure` for any other ending."""
    outcome = {name: getattr(settlement, name) for name in Outcome.model_fields}
    kind: EventType = "batch_success" if settlement.status == "completed" else "batch_failure"
    common = _carried(submission, settlement.batch) | {
        "id": event_id(settlement.account, event_name(submission, settlement.batch.id), kind, settlement.revision),
        "time": settlement.settled_at,
        "batch": settlement.batch,
        "batch_id": settlement.batch.id,
        "revision": settlement.revision,
    }
    return BatchSucceeded(**common, **outcome) if kind == "batch_success" else BatchFailed(**common, **outcome)


def unreadable(batch: Batch, reason: str = UNAVAILABLE) -> Metering:
    """The metering of answers that are gone: the provider's own sums where it sent any, and an unknown cost, never zero."""
    counts = batch.request_counts
    succeeded = counts.completed if counts else 0
    usage = reported_usage(batch.usage) or Usage()
    return Metering(
        lines=LineCounts(
            total=counts.total if counts else 0,
            succeeded=succeeded,
            failed=counts.failed if counts else 0,
            unpriced=succeeded,
        ),
        usage=usage,
        cost=Cost(total=None, unknown={reason: max(succeeded, 1)}),
        models={batch.model or "unknown": ModelUsage(lines=succeeded, usage=usage, unknown={reason: succeeded})},
        notes=(reason,),
    )


def times_of(batch: Batch) -> BatchTimes:
    """A duration is None where a timestamp is missing or the provider's clock went backwards."""
    created, started, ended = batch.created_at, batch.in_progress_at, batch.ended_at
    return BatchTimes(
        created_at=_moment_or_none(created),
        in_progress_at=_moment_or_none(started),
        finalizing_at=_moment_or_none(batch.finalizing_at),
        ended_at=_moment_or_none(ended),
        expires_at=_moment_or_none(batch.expires_at),
        queue_seconds=_between(created, started),
        run_seconds=_between(started, ended),
        total_seconds=_between(created, ended),
    )


def reported_usage(usage: BatchUsage | None) -> Usage | None:
    if usage is None:
        return None
    return Usage(
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.input_tokens_details.cached_tokens if usage.input_tokens_details else 0,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.output_tokens_details.reasoning_tokens if usage.output_tokens_details else 0,
    )


def moment(millis: Millis) -> datetime:
    """The ledger's time as an aware datetime, exact to the millisecond."""
    return datetime.fromtimestamp(millis // 1000, UTC).replace(microsecond=millis % 1000 * 1000)


def _moment_or_none(epoch: int | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)


def _carried(submission: Submission, batch: Batch) -> dict[str, Any]:
    """Members that every event of a batch has from its submission."""
    return {
        "account": submission.account,
        "provider": submission.provider,
        "endpoint": full_endpoint(batch.endpoint or submission.endpoint),
        "region": submission.region,
        "metadata": dict(submission.metadata),
        "attribution": submission.attribution,
        "traceparent": submission.traceparent,
        "adopted": submission.adopted,
    }


def _as_made(batch: Batch) -> Batch:
    """Without anybody's tag."""
    metadata = untagged(batch.metadata)
    if len(metadata) == len(batch.metadata or {}):
        return batch
    return batch.model_copy(update={"metadata": metadata or None})


def _missing(batch: Batch, metering: Metering) -> int:
    """A request's second line is no other request's first."""
    return (
        max(batch.request_counts.total - metering.lines.total + metering.duplicates, 0) if batch.request_counts else 0
    )


def _notes(metering: Metering, reported: BatchUsage | None) -> tuple[str, ...]:
    notes = [*metering.notes, *(flag for flag in metering.cost.flags if flag in _COST_NOTES)]
    if reported is not None and UNAVAILABLE not in notes and _differs(metering.usage, reported):
        notes.append(USAGE_MISMATCH)
    return tuple(dict.fromkeys(notes))


def _differs(metered: Usage, reported: BatchUsage) -> bool:
    """Only what the provider sums up can disagree; details it leaves out do not."""
    pairs = [(metered.input_tokens, reported.input_tokens), (metered.output_tokens, reported.output_tokens)]
    if reported.input_tokens_details is not None:
        pairs.append((metered.cached_input_tokens, reported.input_tokens_details.cached_tokens))
    if reported.output_tokens_details is not None:
        pairs.append((metered.reasoning_tokens, reported.output_tokens_details.reasoning_tokens))
    return any(ours != theirs for ours, theirs in pairs)


def _between(start: int | None, end: int | None) -> float | None:
    if start is None or end is None or end < start:
        return None
    return float(end - start)
