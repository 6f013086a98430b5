"""Counts, usage and cost of a batch, and whose it is: ours, immutable."""

from datetime import date
from decimal import Decimal
from typing import cast

from pydantic import BaseModel, Field, computed_field, model_validator

from .reading import Usd


class Frozen(BaseModel, frozen=True, protected_namespaces=()):
    """Ours, immutable."""


class LineCounts(Frozen, frozen=True):
    """Lines of the output and error files."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    """Lines that carry an error or a non-2xx status: counted, not billed."""
    malformed: int = 0
    """Lines that are not readable as an answer at all."""
    unpriced: int = 0
    """Succeeded lines whose cost is unknown; `Cost.unknown` says why."""


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
    """The vendor's own amounts on the rows (xAI `cost_in_usd_ticks`, OpenRouter `usage.cost`), added up."""

    total: Usd = Decimal(0)
    """US dollars, over `lines` lines only."""
    lines: int = 0


class RatesUsed(Frozen, frozen=True):
    """The rates of some lines: units x rates = cost, so that an audit needs no catalogue."""

    model: str | None = None
    """As the lines name it."""
    priced_as: str | None = None
    """The model whose price it is, where that is another (Azure: deployment -> model)."""
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
