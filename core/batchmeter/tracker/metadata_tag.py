"""The metadata keys that batchmeter adds to a batch: to find it after a lost answer, and whose second try it is."""

from collections.abc import Mapping
from itertools import count

from batchmeter.models import Batch

TAG = "batchmeter_id"
"""Behind another batchmeter (an SDK at our own proxy) its tag stays, and ours is `batchmeter_id_2`, and so on."""
RETRY_OF = "batchmeter_retry_of"
"""Of a retry: the id of the batch whose requests it repeats."""


def tagged(metadata: Mapping[str, str] | None, intent_id: str, *, room: int = 16) -> dict[str, str] | None:
    """The caller's metadata with the tag; without it where the provider's `room` (pairs) is used up."""
    given = dict(metadata or {})
    if len(given) >= room:
        return given
    return {**given, _key(_tags_in(given) + 1): intent_id}


def tag_of(batch: Batch) -> str | None:
    """Ours: the last one."""
    metadata = batch.metadata or {}
    return metadata.get(_key(_tags_in(metadata)))


def without_tag(batch: Batch) -> Batch:
    """The batch as its owner made it; metadata that held the tag alone is None, as if none was sent."""
    if tag_of(batch) is None:
        return batch
    ours = _key(_tags_in(batch.metadata or {}))
    rest = {key: value for key, value in (batch.metadata or {}).items() if key != ours}
    return batch.model_copy(update={"metadata": rest or None})


def untagged(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata as people and programs wrote it: without any batchmeter's tag."""
    given = metadata or {}
    tags = {_key(number) for number in range(1, _tags_in(given) + 1)}
    return {key: value for key, value in given.items() if key not in tags}


def _tags_in(metadata: Mapping[str, str]) -> int:
    return next(number - 1 for number in count(1) if _key(number) not in metadata)


def _key(number: int) -> str:
    return TAG if number == 1 else f"{TAG}_{number}"
