"""Recognises the batch that a create made, by its tag, or else by its input, its metadata and its time."""

from collections import defaultdict
from collections.abc import Iterable

from batchmeter.events import full_endpoint
from batchmeter.ledger.records import Intent
from batchmeter.models import Batch

SKEW_SECONDS = 600.0
"""How far a provider's clock may be behind ours."""


def likelier(intent: Intent, batch: Batch, than: Batch) -> bool:
    """Of two batches with the tag: the one that reads this input, else the older; the other has copied metadata."""
    keys = [(not _reads_input_of(one, intent), one.created_at or 0) for one in (batch, than)]
    return keys[0] < keys[1]


def _reads_input_of(batch: Batch, intent: Intent) -> bool:
    """False where both name an input, and not the same."""
    source, read = intent.submission.input_file_id, _input_of(batch)
    return source is None or read is None or _bare(source) == read


def made_by(intents: Iterable[Intent], batches: Iterable[Batch], *, skew: float = 0.0) -> dict[str, Batch]:
    """Intent id -> its batch, by input file; of several the one whose metadata is most alike, then the closest in time.

    `skew` says by how many seconds the provider's clock is ahead of ours: what it dates by either clock is in time.
    """
    over = defaultdict[str | None, list[Batch]](list)
    for batch in batches:
        over[_input_of(batch)].append(batch)
    fitting: list[tuple[int, float, str, str, Batch]] = []
    for intent in intents:
        source = intent.submission.input_file_id
        for batch in [] if source is None else over[_bare(source)]:
            after = (batch.created_at or 0) - intent.created_at / 1000
            if after >= min(skew, 0.0) - SKEW_SECONDS and _may_be(intent, batch):
                differences = len(intent.submission.metadata.items() ^ (batch.metadata or {}).items())
                fitting.append((differences, min(abs(after), abs(after - skew)), intent.id, batch.id, batch))
    found, used = dict[str, Batch](), set[str]()
    for *_, intent_id, batch_id, batch in sorted(fitting, key=lambda fit: fit[:-1]):
        if intent_id not in found and batch_id not in used:
            found[intent_id] = batch
            used.add(batch_id)
    return found


def _may_be(intent: Intent, batch: Batch) -> bool:
    """Providers show metadata whole, in part or not at all, and gateways add to it; nobody changes a value."""
    submission = intent.submission
    return (
        full_endpoint(batch.endpoint) in {None, full_endpoint(submission.endpoint)}
        and batch.created_at is not None
        and all(submission.metadata.get(key, value) == value for key, value in (batch.metadata or {}).items())
    )


def _input_of(batch: Batch) -> str | None:
    """The batch's input file; or its blob, where it reads the caller's own storage (and carries no metadata)."""
    blob: object = (batch.model_extra or {}).get("input_blob")
    return batch.input_file_id or (_bare(blob) if isinstance(blob, str) else None)


def _bare(name: str) -> str:
    """A URL may have been signed."""
    return name.partition("?")[0]
