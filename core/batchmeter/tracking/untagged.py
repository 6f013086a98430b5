"""Batches whose metadata had no place for the tag: which create of ours made which."""

from collections import defaultdict
from collections.abc import Iterable

from batchmeter.ledger.records import Intent
from batchmeter.models import Batch, full_endpoint

from .listed import SKEW_SECONDS


def reads_input_of(batch: Batch, intent: Intent) -> bool:
    """False where both name an input, and not the same."""
    asked, read = intent.submission.input_file_id, _input_of(batch)
    return asked is None or read is None or _bare(asked) == read


def made_by(intents: Iterable[Intent], batches: Iterable[Batch]) -> dict[str, Batch]:
    """Intent id -> its batch, by input file; of several the one whose metadata is most alike, then the closest in time."""
    over = defaultdict[str | None, list[Batch]](list)
    for batch in batches:
        over[_input_of(batch)].append(batch)
    fitting = [
        (_differences(intent, batch), abs(_seconds_after(intent, batch)), intent.id, batch.id, batch)
        for intent in intents
        if intent.submission.input_file_id is not None
        for batch in over[_bare(intent.submission.input_file_id)]
        if _may_be(intent, batch)
    ]
    found, used = dict[str, Batch](), set[str]()
    for *_, intent_id, batch_id, batch in sorted(fitting, key=lambda fit: fit[:-1]):
        if intent_id not in found and batch_id not in used:
            found[intent_id] = batch
            used.add(batch_id)
    return found


def _may_be(intent: Intent, batch: Batch) -> bool:
    """Providers show metadata whole, in part or not at all, and gateways add to it; nobody changes a value."""
    said = intent.submission
    return (
        full_endpoint(batch.endpoint) in {None, full_endpoint(said.endpoint)}
        and batch.created_at is not None
        and _seconds_after(intent, batch) >= -SKEW_SECONDS
        and all(said.metadata.get(key, value) == value for key, value in (batch.metadata or {}).items())
    )


def _differences(intent: Intent, batch: Batch) -> int:
    return len(intent.submission.metadata.items() ^ (batch.metadata or {}).items())


def _seconds_after(intent: Intent, batch: Batch) -> float:
    return (batch.created_at or 0) - intent.created_at / 1000


def _input_of(batch: Batch) -> str | None:
    """Its file, or the blob that a batch on the caller's own storage (which carries no metadata) reads instead."""
    blob: object = (batch.model_extra or {}).get("input_blob")
    return batch.input_file_id or (_bare(blob) if isinstance(blob, str) else None)


def _bare(name: str) -> str:
    """A URL may have been signed."""
    return name.partition("?")[0]
