"""The metadata keys that batchmeter adds to a batch: to find it after a lost answer, and whose second try it is."""

from collections.abc import Mapping

from batchmeter.models import Batch

TAG = "batchmeter_id"
RETRY_OF = "batchmeter_retry_of"
"""Of a retry: the id of the batch whose requests it repeats."""


def tagged(metadata: Mapping[str, str] | None, intent_id: str, *, room: int = 16) -> dict[str, str] | None:
    """The caller's metadata with the tag; without it where the provider's `room` (pairs) is used up."""
    given = dict(metadata or {})
    if len(given) >= room:
        return given
    return {**given, TAG: intent_id}


def tag_of(batch: Batch) -> str | None:
    return (batch.metadata or {}).get(TAG)


def without_tag(batch: Batch) -> Batch:
    """The batch as its owner made it; metadata that held the tag alone is None, as if none was sent."""
    if tag_of(batch) is None:
        return batch
    rest = {key: value for key, value in (batch.metadata or {}).items() if key != TAG}
    return batch.model_copy(update={"metadata": rest or None})
