"""Files and batches in OpenAI's shapes, read tolerantly; usage, cost and attribution in ours, immutable.

Tolerance is a rule, not a favour: unknown fields are kept, unknown statuses are open, ids are opaque, `""` means null,
numbers may be strings, times may be ISO 8601 (older APIs) or epoch seconds. Ids, times, counts and money have one
spelling each when we write them.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, SecretStr, computed_field, model_validator

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


_FIRST = int(datetime.min.replace(tzinfo=UTC).timestamp())
_LAST = int(datetime.max.replace(tzinfo=UTC).timestamp())


def _epoch(value: object) -> object:
    """Epoch seconds from a number, a numeric string or ISO 8601; None for what is no instant, as milliseconds are."""
    if value is None or value == "":
        return None
    seconds = _seconds(value) if isinstance(value, str) else value
    if not isinstance(seconds, int | float):
        return value
    return int(seconds) if _FIRST <= seconds <= _LAST else None


def _seconds(text: str) -> float:
    """ISO 8601 may have any number of fractional digits (vendors print up to seven); no zone means UTC."""
    try:
        return float(text)
    except ValueError:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _utc(value: datetime) -> str:
    """One spelling, so that an event rendered twice is the same bytes."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _decimal(value: Decimal) -> str:
    """Plain digits without exponent or trailing zeros: `0.000738`, not `7.380E-4`."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _stripped(value: object) -> object:
    """The line break at the end of a mounted file is no part of the secret in it."""
    if isinstance(value, SecretStr):
        return SecretStr(value.get_secret_value().strip())
    return value.strip() if isinstance(value, str) else value


Secret = Annotated[SecretStr, BeforeValidator(_stripped)]
"""A key or a password; never shown."""
Id = Annotated[str | None, BeforeValidator(lambda value: None if value == "" else value)]
Epoch = Annotated[int | None, BeforeValidator(_epoch)]
Count = Annotated[int, BeforeValidator(lambda value: 0 if value in (None, "") else value)]
Status = Annotated[str, BeforeValidator(_status)]
Time = Annotated[datetime, PlainSerializer(_utc, when_used="json")]
"""An instant in UTC; JSON `2026-11-22T09:00:00.000Z`."""
Usd = Annotated[Decimal, PlainSerializer(_decimal, when_used="json")]
"""US dollars; a string of plain digits in JSON, never a float."""


def plain(model: BaseModel) -> dict[str, Any]:
    """The JSON-ready dict: money as strings, times as ISO 8601 UTC."""
    return model.model_dump(mode="json")


TERMINAL_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})
"""Statuses after which the provider changes nothing more. Any word not known here counts as open."""


class Wire(BaseModel, extra="allow", protected_namespaces=()):
    """An object as a provider sent it: unknown fields ride along."""

    def __getitem__(self, name: str) -> Any:
        """`batch["id"]`, for code that has dictionaries."""
        if name not in self:
            raise KeyError(name)
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in type(self).model_fields or name in (self.__pydantic_extra__ or {})

    def get(self, name: str, default: Any = None) -> Any:
        """As a dictionary's."""
        return getattr(self, name) if name in self else default


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

    def seconds_left(self, now: float) -> float | None:
        """Until it ends, if it goes on as until `now` (epoch seconds); None before a twentieth is done."""
        counts, begun = self.request_counts, self.in_progress_at
        if self.ended or counts is None or begun is None or not counts.total or now <= begun:
            return None
        done = (counts.completed + counts.failed) / counts.total
        return (now - begun) * max(1 - done, 0) / done if done >= 0.05 else None  # noqa: PLR2004

    @property
    def ended_at(self) -> int | None:
        """When it ended, by the provider's clock."""
        ended: int | None = getattr(self, f"{self.status}_at") if self.ended else None
        return ended


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
    """Lines of the output and error files."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    """Lines that carry an error or a non-2xx status: counted, not billed unless they say what they used."""
    malformed: int = 0
    """Lines that are not readable as an answer at all."""
    unpriced: int = 0
    """Lines whose cost is unknown; `Cost.unknown` says why."""


class Usage(Frozen, frozen=True):
    """Tokens, and other units that vendors bill by. `input_tokens` and `output_tokens` include the parts below them; the
    parts are disjoint, except that a cached audio token counts as cached and as audio; reasoning is part of output."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    image_input_tokens: int = 0
    video_input_tokens: int = 0
    output_tokens: int = 0
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    video_output_tokens: int = 0
    reasoning_tokens: int = 0
    web_searches: int = 0
    file_searches: int = 0
    maps_queries: int = 0
    tool_calls: int = 0
    """Other server-side tools that a vendor bills by the call."""
    containers: int = 0
    """Containers in which the vendor ran code."""
    sessions: int = 0
    """Sessions that a vendor bills as such."""
    generated_images: int = 0
    """Images billed apiece, whose tokens no counter has."""
    input_images: int = 0
    """Images that were sent and are billed apiece."""
    audio_seconds: int = 0
    pages: int = 0
    """Pages of documents that were read."""

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
    """All that is priced, also of lines that are priced in part; a lower bound when `total` is None."""
    currency: str = "USD"
    unknown: dict[str, int] = Field(default_factory=dict[str, int])
    """Reason -> lines: `unknown_model`, `usage_missing`, `missing_rate`, `output_unavailable`, …"""
    details: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    """Reason -> what to look at, the first of it: `missing_rate` names model and bucket (`gpt-5: web_search`),
    `unknown_model` the model, `usage_missing` and `usage_invalid` the lines (`file-abc line 7`)."""
    estimated: bool = False
    """A rate was derived (standard price x provider factor), not published."""
    flags: tuple[str, ...] = ()
    """More that a reader should know: `region_assumed_global`, `vendor_reported`, `price_change_during_batch`, …"""
    price_book: str | None = None
    """Digest of the catalogue and user rows that priced it."""
    priced_at: date | None = None
    """The UTC date whose prices were taken."""


class ReportedCost(Frozen, frozen=True):
    """The vendor's own amounts on the rows (`cost_in_usd_ticks`, `usage.cost`), added up."""

    total: Usd = Decimal(0)
    """US dollars, over `lines` lines only."""
    lines: int = 0


class RatesUsed(Frozen, frozen=True):
    """The rates of some lines: units x rates = cost, so that an audit needs no catalogue."""

    model: str | None = None
    """As the lines name it."""
    priced_as: str | None = None
    """The model whose price it is, where that is another (a deployment -> its model)."""
    prompt_over: int = 0
    """The tier: prompts longer than this many tokens."""
    geo: str | None = None
    processing: str = "batch"
    region: str | None = None
    """The region class whose price it is; None is the global price."""
    lines: int = 0
    units: dict[str, int] = Field(default_factory=dict[str, int])
    """Bucket -> tokens, or searches, seconds, images, …"""
    usd_per_million: dict[str, Usd] = Field(default_factory=dict[str, Usd])
    """Bucket -> USD per million units; a bucket of `units` that is absent had no rate."""
    estimated: tuple[str, ...] = ()
    """Buckets whose rate was derived, not published."""
    flags: tuple[str, ...] = ()
    origin: str = ""
    """The row's source: `user`, `correction`, `litellm`, a plugin's name; `vendor_reported` for the vendor's amount."""
    cost: Usd = Decimal(0)
    """All that is priced of these lines."""


class ModelUsage(Frozen, frozen=True):
    """One model's share."""

    lines: int = 0
    usage: Usage = Usage()
    cost: Usd | None = None
    """None when any of its lines could not be priced."""
    known: Usd = Decimal(0)
    """All that is priced of it; as `cost`, where that is known."""
    unknown: dict[str, int] = Field(default_factory=dict[str, int])
    """Reason -> lines, as in `Cost.unknown`; absent from settlements older than the field."""
    list_price: Usd | None = None
    """The same lines' cost outside a batch; None where a standard rate is unknown, and in older settlements."""

    @model_validator(mode="before")
    @classmethod
    def _known_from_cost(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        share = cast("dict[str, object]", given)
        return {**share, "known": share["cost"]} if "known" not in share and share.get("cost") is not None else share


class Attribution(Frozen, frozen=True):
    """The owner of a batch, for showback."""

    key: str | None = None
    """The id (never the secret) of the proxy key."""
    user: str | None = None
    team: str | None = None
    session: str | None = None
    tags: tuple[str, ...] = ()
