"""Files and batches in OpenAI's shapes, read tolerantly; usage and cost in ours.

Tolerance is a rule, not a favour: unknown fields are kept, unknown statuses are open, ids are opaque, `""` means null,
numbers may be strings, times may be ISO 8601 (Azure's older REST versions, Together) or epoch seconds.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, computed_field

TERMINAL_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})
"""Statuses after which the provider changes nothing more. Any word not known here counts as open."""

_SPELLINGS = {
    "canceled": "cancelled",
    "canceling": "cancelling",
    "succeeded": "completed",
    "success": "completed",
    "cancellation_requested": "cancelling",
    "timeout_exceeded": "expired",
    "queued": "validating",
    "running": "in_progress",
}


def _status(value: object) -> object:
    """`"Validating"`, `"InProgress"`, `"IN_PROGRESS"`, `"canceled"` -> OpenAI's spelling; other words are kept."""
    if not isinstance(value, str):
        return value
    snake = "".join(f"_{c}" if c.isupper() and i and value[i - 1].islower() else c for i, c in enumerate(value))
    word = snake.lower()
    return _SPELLINGS.get(word, word)


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _epoch(value: object) -> object:
    """Epoch seconds from a number, a numeric string or ISO 8601."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            return int(float(value))
        except ValueError:
            return int(_iso(value).timestamp())
    if isinstance(value, float):
        return int(value)
    return value


def _iso(text: str) -> datetime:
    """ISO 8601 with any number of fractional digits (Azure prints seven); no zone means UTC."""
    head, dot, tail = text.replace("Z", "+00:00").partition(".")
    if dot:
        digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
        text = f"{head}.{digits[:6]}{tail[len(digits) :]}"
    else:
        text = head
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _zero_if_none(value: object) -> object:
    return 0 if value is None or value == "" else value


def _utc(value: datetime) -> str:
    """One spelling, so that an event rendered twice is the same bytes."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _decimal(value: Decimal) -> str:
    """Plain digits without exponent or trailing zeros: `0.000738`, not `7.380E-4`."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


Id = Annotated[str | None, BeforeValidator(_none_if_empty)]
Epoch = Annotated[int | None, BeforeValidator(_epoch)]
Count = Annotated[int, BeforeValidator(_zero_if_none)]
Status = Annotated[str, BeforeValidator(_status)]
Time = Annotated[datetime, PlainSerializer(_utc, when_used="json")]
"""An instant in UTC; JSON `2026-11-22T09:00:00.000Z`."""
Usd = Annotated[Decimal, PlainSerializer(_decimal, when_used="json")]
"""US dollars; a string of plain digits in JSON, never a float."""


class Wire(BaseModel):
    """What a provider sent: unknown fields ride along."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class RequestCounts(Wire):
    """The provider's own counters. Trust the files over these: they move back on a cancel."""

    total: Count = 0
    completed: Count = 0
    failed: Count = 0


class BatchUsage(Wire):
    """The provider's batch-level token sums (OpenAI since 2025-09-07): a cross-check, not the source of cost."""

    class InputDetails(Wire):
        cached_tokens: Count = 0

    class OutputDetails(Wire):
        reasoning_tokens: Count = 0

    input_tokens: Count = 0
    input_tokens_details: InputDetails | None = None
    output_tokens: Count = 0
    output_tokens_details: OutputDetails | None = None
    total_tokens: Count = 0


class BatchError(Wire):
    code: str | None = None
    message: str | None = None
    param: str | None = None
    line: int | None = None
    """1-based line of the input file."""


class BatchErrors(Wire):
    object: str = "list"
    data: list[BatchError] = Field(default_factory=list[BatchError])


class Batch(Wire):
    """A batch job. Times are epoch seconds UTC, as OpenAI sends them."""

    id: str
    object: str = "batch"
    endpoint: Id = None
    model: Id = None
    errors: BatchErrors | None = None
    input_file_id: Id = None
    completion_window: Id = None
    status: Status
    output_file_id: Id = None
    error_file_id: Id = None
    created_at: Epoch = None
    in_progress_at: Epoch = None
    expires_at: Epoch = None
    finalizing_at: Epoch = None
    completed_at: Epoch = None
    failed_at: Epoch = None
    expired_at: Epoch = None
    cancelling_at: Epoch = None
    cancelled_at: Epoch = None
    request_counts: RequestCounts | None = None
    usage: BatchUsage | None = None
    metadata: dict[str, str] | None = None

    @property
    def ended(self) -> bool:
        """True for `completed`, `failed`, `expired` and `cancelled`."""
        return self.status in TERMINAL_STATUSES

    @property
    def ended_at(self) -> int | None:
        """When it ended, by the provider's clock."""
        by_status = {
            "completed": self.completed_at,
            "failed": self.failed_at,
            "expired": self.expired_at,
            "cancelled": self.cancelled_at,
        }
        return by_status.get(self.status)


class FileObject(Wire):
    """An uploaded or produced file."""

    id: str
    object: str = "file"
    bytes: Count = 0
    created_at: Epoch = None
    expires_at: Epoch = None
    filename: Id = None
    purpose: Id = None
    status: Id = None
    status_details: Id = None


class FileDeleted(Wire):
    id: str
    object: str = "file"
    deleted: bool = True


Item = TypeVar("Item")


class Page(Wire, Generic[Item]):
    """One page of a list; iterate it for its items, pass `last_id` as `after` for the next while `has_more`."""

    object: str = "list"
    data: list[Item]
    first_id: Id = None
    last_id: Id = None
    has_more: bool = False

    def __iter__(self) -> Iterator[Item]:  # type: ignore[override]  # the items, as OpenAI's own pages do
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


class Frozen(BaseModel, frozen=True, protected_namespaces=()):
    """Ours, immutable."""


class LineCounts(Frozen, frozen=True):
    """What the output and error files held."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    """Lines that carry an error or a non-2xx status: counted, not billed."""
    malformed: int = 0
    """Lines that are not readable as an answer at all."""
    unpriced: int = 0
    """Succeeded lines whose cost is unknown; `Cost.unknown` says why."""


class Usage(Frozen, frozen=True):
    """Tokens. The two sums include everything below them; the parts are disjoint, reasoning is part of output."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    image_input_tokens: int = 0
    output_tokens: int = 0
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    reasoning_tokens: int = 0

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own order of the two
    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in Usage.model_fields})


class Cost(Frozen, frozen=True):
    """US dollars. `total` is None as soon as one succeeded line could not be priced: unknown is never 0."""

    total: Usd | None = Decimal(0)
    known: Usd = Decimal(0)
    """The priced part; a lower bound when `total` is None."""
    currency: str = "USD"
    unknown: dict[str, int] = Field(default_factory=dict[str, int])
    """Reason -> lines: `unknown_model`, `usage_missing`, `missing_rate`, `output_unavailable`, …"""
    estimated: bool = False
    """A rate was derived (standard price x provider factor), not published."""
    flags: tuple[str, ...] = ()
    """What else a reader should know: `region_assumed_global`, `price_change_during_batch`, …"""
    price_book: str | None = None
    """Digest of the catalogue and user rows that priced it."""
    priced_at: date | None = None
    """The UTC date whose prices were taken."""


class ModelUsage(Frozen, frozen=True):
    """One model's share."""

    lines: int = 0
    usage: Usage = Usage()
    cost: Usd | None = None
    """None when any of its lines could not be priced."""


class Attribution(Frozen, frozen=True):
    """Who a batch belongs to, for showback."""

    key: str | None = None
    """The id (never the secret) of the proxy key."""
    user: str | None = None
    team: str | None = None
    session: str | None = None
    tags: tuple[str, ...] = ()


def utc_from_epoch(seconds: int | None) -> datetime | None:
    """Epoch seconds -> aware UTC datetime."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def plain(model: BaseModel) -> dict[str, Any]:
    """The JSON-ready dict: money as strings, times as ISO 8601 UTC."""
    return model.model_dump(mode="json")
