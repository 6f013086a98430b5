"""Submits a request again after its batch has failed: one new submission, however many processes ask for it."""

from dataclasses import replace

from batchmeter.host import Tries
from batchmeter.ledger.records import Again, Submission, TrackedBatch
from batchmeter.models import Batch
from batchmeter.parts import Parts
from batchmeter.providers import BatchRequest, CallOptions, Provider
from batchmeter.submit import submit
from batchmeter.tracker.metadata_tag import RETRY_OF


def tries_of(failed: TrackedBatch | None) -> Tries | None:
    """None where nothing was kept to submit it again with."""
    if failed is None or failed.submission.again is None:
        return None
    return Tries(failed.submission.again.attempt, failed.submission.again.since or failed.recorded_at)


def next_key(failed: TrackedBatch) -> str:
    """The idempotency key that makes the next try one, whoever makes it."""
    kept = failed.submission.again or Again()
    return f"{RETRY_OF}:{kept.first_id or failed.batch_id}:try-{kept.attempt + 1}"


async def resubmit(parts: Parts, provider: Provider, failed: TrackedBatch, *, tag: bool) -> Batch:
    """The batch that follows. Raises what a submission raises; it waits for no room in a queue."""
    kept = failed.submission.again or Again()
    first_id = kept.first_id or failed.batch_id
    again = replace(kept, first_id=first_id, attempt=kept.attempt + 1, since=kept.since or failed.recorded_at)
    metadata = {**failed.submission.metadata, RETRY_OF: first_id}
    submission = replace(failed.submission, metadata=metadata, again=again)
    window = failed.batch.completion_window or "24h"
    return await submit_kept(parts, provider, submission, window, next_key(failed), tag=tag, wait=False)


async def submit_kept(
    parts: Parts,
    provider: Provider,
    submission: Submission,
    window: str,
    key: str | None,
    *,
    tag: bool,
    rivals: tuple[str, ...] = (),
    wait: bool = True,
) -> Batch:
    """Submit what the ledger has kept. Its `batchmeter_retry_of` stays there where the provider has no room for it."""
    again, metadata = submission.again or Again(), dict(submission.metadata)
    if len(metadata) > provider.capabilities.max_metadata_pairs:
        metadata.pop(RETRY_OF, None)
    request = BatchRequest(
        submission.input_file_id,
        submission.endpoint or "",
        window,
        metadata or None,
        again.output_expires_after,
        submission.model,
    )
    options = CallOptions(extra_body=again.extra_body)
    return await submit(
        parts, provider, request, options, submission, idempotency_key=key, rivals=rivals, tag=tag, wait=wait
    )
