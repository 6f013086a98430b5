"""Rows to dataclasses and back; documents are JSON text."""

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from typing import Any, TypeVar, cast

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from batchmeter.errors import UsageError
from batchmeter.events import BATCH_KINDS, EVENT, AnyEvent, Settlement, model_of_kind
from batchmeter.host import Total
from batchmeter.models import Attribution, Batch, Cost
from batchmeter.pricing.groups import Group, GroupKey, Groups

from .records import (
    Attempts,
    Claim,
    Delivery,
    Intent,
    StoredEvent,
    Submission,
    TrackedBatch,
    progress_of,
)
from .session import Row, Session

_SUBMISSION = TypeAdapter(Submission)
_BATCH = TypeAdapter(Batch)
_SETTLEMENT = TypeAdapter(Settlement)
_TOTAL = TypeAdapter(Total)
_ATTRIBUTION = TypeAdapter(Attribution)
_rendered: list[tuple[Submission | None, str]] = [(None, "")]
"""The last one; swapped as one, for every ledger's thread."""
_MOST = 2**53
_attempts = msgspec.json.Decoder(tuple[Attempts, ...]).decode

Document = TypeVar("Document")
log = logging.getLogger("batchmeter")
UNREADABLE = (ValueError, TypeError, KeyError, msgspec.MsgspecError)
"""Errors of decoding a row that somebody wrote wrongly."""


def dump(model: BaseModel) -> str:
    """JSON text; a lone surrogate, which a model's output may contain, is kept as its escape."""
    try:
        return model.model_dump_json()
    except PydanticSerializationError:
        return json.dumps(model.model_dump(mode="json"), separators=(",", ":"))


def storable(words: str | None) -> str | None:
    """An error's words, whoever wrote them: NUL and lone surrogates, which databases refuse, become their escapes."""
    return None if words is None else words.replace("\0", r"\x00").encode("utf-8", "backslashreplace").decode()


def _load(adapter: TypeAdapter[Document], text: str | bytes) -> Document:
    try:
        return adapter.validate_json(text)
    except ValidationError:  # pydantic's JSON reader refuses escaped lone surrogates, the standard library's does not
        return adapter.validate_python(json.loads(text))


def _rendered_by(adapter: TypeAdapter[Document], value: Document) -> str:
    """As `dump`."""
    try:
        return adapter.dump_json(value, warnings=False).decode()
    except PydanticSerializationError:
        return json.dumps(adapter.dump_python(value, mode="json", warnings=False), separators=(",", ":"))


def dump_submission(submission: Submission) -> str:
    """Rendered once for its intent and its batch, if they follow each other. UsageError for what could not be read back."""
    earlier, text = _rendered[0]
    if earlier is submission:
        return text
    text = _rendered_by(_SUBMISSION, submission)
    try:
        load_submission(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}: nothing was submitted") from None
    _rendered[0] = submission, text
    return text


def submission_columns(submission: Submission) -> dict[str, object]:
    text = dump_submission(submission)
    return {"submission": text, "submission_digest": digest(text.encode())}


async def readable(session: Session, rows: Sequence[Row], decode: Callable[[Row], Document]) -> list[Document]:
    """One row that cannot be read hides no other: it is logged and left out, and `ledger check` counts it."""

    def tolerant(row: Row) -> Document | None:
        try:
            return decode(row)
        except UNREADABLE as error:
            log.error("ledger: %s cannot be read: %s", described(row), str(error).splitlines()[0])  # noqa: TRY400 - the row, not our code
            return None

    return [found for found in await session.decoded(rows, tolerant) if found is not None]


def described(row: Row) -> str:
    """A row's name in words."""
    names = ("account", "batch_id", "batch_pk", "id", "seq", "file_id")
    return ", ".join(f"{name} {row[name]}" for name in names if name in row.keys()) or "a row"  # noqa: SIM118 - a sqlite3.Row iterates over values


def load_submission(text: str) -> Submission:
    return _load(_SUBMISSION, text)


def load_attribution(text: str | None) -> Attribution | None:
    return None if text is None else _load(_ATTRIBUTION, text)


def dump_groups(groups: Groups) -> str:
    rows = [
        {
            "model": key.model,
            "prompt_over": key.prompt_over,
            "geo": key.geo,
            "processing": key.processing,
            "buckets": key.buckets,
            "lines": group.lines,
            "counts": group.counts,
            "reasoning": group.reasoning,
            **(
                {"reported": str(group.reported), "reported_lines": group.reported_lines}
                if group.reported_lines
                else {}
            ),
        }
        for key, group in groups.items()
    ]
    return json.dumps(rows, separators=(",", ":"))


def load_groups(text: str) -> dict[GroupKey, Group]:
    return dict(_group(row) for row in cast("list[dict[str, Any]]", json.loads(text)))


def _group(row: dict[str, Any]) -> tuple[GroupKey, Group]:
    key = GroupKey(row["model"], row["prompt_over"], row["geo"], row["processing"], tuple(row.get("buckets", ())))
    reported = Decimal(row.get("reported", 0))
    return key, Group(row["lines"], row["counts"], row["reasoning"], reported, row.get("reported_lines", 0))


def snapshot_columns(batch: Batch) -> dict[str, object]:
    snapshot = dump(batch)
    return {
        "snapshot": snapshot,
        "snapshot_digest": digest(snapshot.encode()),
        "status": batch.status,
        "ended": int(batch.ended),
        "progress": min(progress_of(batch), _MOST),
    }


def dump_attempts(attempts: tuple[Attempts, ...]) -> str | None:
    return msgspec.json.encode(attempts).decode() if attempts else None


def intent(row: Row) -> Intent:
    return Intent(
        id=row["id"],
        submission=load_submission(row["submission"]),
        idempotency_key=row["idempotency_key"],
        created_at=row["created_at"],
        state=row["state"],
        batch_id=row["batch_id"],
        reason=row["reason"],
        request_sha256=row["request_sha256"],
    )


def tracked(row: Row) -> TrackedBatch:
    return tracked_as(row, load_submission(row["submission"]), _load(_BATCH, row["snapshot"]))


def tracked_as(row: Row, submission: Submission, batch: Batch) -> TrackedBatch:
    """A batch whose documents are at hand."""
    return TrackedBatch(
        submission=submission,
        batch=batch,
        recorded_at=row["recorded_at"],
        next_poll_at=row["next_poll_at"],
        poll_count=row["poll_count"],
        error_count=row["error_count"],
        last_error=row["last_error"],
        last_polled_at=row["last_polled_at"],
        settled_at=row["settled_at"],
        intent_id=row["intent_id"],
        attempts=() if row["attempts"] is None else _attempts(row["attempts"]),
        progress=row["progress"],
        retired_id=row["batch_id"] if row["batch_id"].startswith(f"{batch.id}~") else None,
    )


def claim(row: Row) -> Claim:
    return Claim(tracked(row), token=row["lease_token"], expires_at=row["lease_until"])


def settled(row: Row) -> tuple[Settlement, Groups]:
    return _load(_SETTLEMENT, row["settlement"]), load_groups(row["line_groups"])


def settlement(row: Row) -> Settlement:
    return _load(_SETTLEMENT, row["settlement"])


def total(row: Row) -> Total:
    return _load(_TOTAL, row["sums"])


def dump_total(one: Total) -> str:
    return _rendered_by(_TOTAL, one)


def event_columns(event: BaseModel) -> dict[str, object]:
    payload = dump(event).encode()
    return {"payload": payload, "digest": digest(payload)}


def settlement_columns(settlement: Settlement, groups: str) -> dict[str, object]:
    text = dump(settlement)
    return {"settlement": text, "groups": groups, "settlement_digest": digest(text.encode(), groups.encode())}


def digest(*documents: bytes) -> str:
    """Against damage, not against forgery: whoever can write a document can write this too."""
    return hashlib.blake2b(b"\0".join(documents), digest_size=16).hexdigest()


def cost_columns(settlement: Settlement) -> dict[str, object]:
    cost = Cost() if settlement.invented else settlement.cost
    return {"known_usd": float(cost.known), "unpriced_lines": sum(cost.unknown.values())}


def stored_event(row: Row) -> StoredEvent:
    payload = bytes(row["payload"])
    return StoredEvent(row["seq"], load_event(payload), payload)


class _Kind(msgspec.Struct):
    type: str


_kind = msgspec.json.Decoder(_Kind).decode


def load_event(payload: bytes) -> AnyEvent:
    """Of any kind: a plugin's is typed as a batch's, which is what those who handle it alone will see."""
    try:
        return _load(EVENT, payload)
    except ValidationError:
        kind = _kind(payload).type
        if kind in BATCH_KINDS:
            raise
        return cast("AnyEvent", model_of_kind(kind).model_validate_json(payload))


def delivery(row: Row) -> Delivery:
    return Delivery(
        logger=row["logger"],
        stored=stored_event(row),
        state=row["state"],
        attempts=row["attempts"],
        token=row["token"],
        next_attempt_at=row["next_attempt_at"],
        delivered_at=row["delivered_at"],
        last_error=row["last_error"],
    )


def or_none(values: Collection[str] | None) -> list[str] | None:
    """A filter's values as a list, which both drivers take; None means no filter."""
    return None if values is None else list(values)
