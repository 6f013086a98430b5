"""Counts, usage and cost of a batch, and whose it is: ours, immutable."""

from datetime import date
from decimal import Decimal

from pydantic import BaseModel, Field, computed_field

from .reading import Usd


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
