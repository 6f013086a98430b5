"""Price groups: the integer sums of disjoint buckets that metering hands to pricing, one group for each price.

Lines whose price cannot differ share a group, so that a group is priced once, in Decimal, and the sum equals pricing
line by line. Groups are stored with a settlement: `reprice` needs no second download.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol

TOOLS = ("web_search", "file_search", "maps_query", "tool_call", "container", "session", "image_generation")
"""Uses of a vendor's own tools. No batch, length tier or region changes their price."""
UNITS = (*TOOLS, "input_image", "audio_second", "page")
"""Billed things that are no tokens: tools, and images sent, seconds of audio and pages where a model is billed by those."""
INPUT_BUCKETS = (
    "input",
    "cached_input",
    "cache_write_5m",
    "cache_write_1h",
    "audio_in",
    "cached_audio_in",
    "image_in",
    "cached_image_in",
    "video_in",
    "cached_video_in",
)
BUCKETS = (
    *INPUT_BUCKETS,
    "output",
    "audio_out",
    "image_out",
    "video_out",
    *UNITS,
)
"""Disjoint. All but UNITS are tokens; `input` and `output` are the text left after the others."""


@dataclass(frozen=True, slots=True)
class GroupKey:
    """All that decides the rates of a line, besides the job's provider, region and date."""

    model: str | None
    """As the provider names it in the answer (a dated snapshot), else from the batch, else from the input line."""
    prompt_over: int = 0
    """The largest of `PriceBook.boundaries` that this request's whole prompt exceeds; 0 if none."""
    geo: str | None = None
    """The place that a line itself names (`inference_geo`)."""
    processing: str = "batch"
    """`standard` for a line that its vendor says was served, and is billed, outside the batch."""
    buckets: tuple[str, ...] = ()
    """Buckets that the lines use beyond input and output, sorted: one without a rate leaves only its own lines unpriced."""


@dataclass(slots=True)
class Group:
    """Sums over the lines of one key."""

    lines: int
    counts: dict[str, int]
    """Bucket -> units; absent means 0."""
    reasoning: int = 0
    """A memo: already inside `counts["output"]`."""
    reported: Decimal = Decimal(0)
    """USD that the vendor itself names on `reported_lines` of these lines."""
    reported_lines: int = 0


Groups = Mapping[GroupKey, Group]


@dataclass(frozen=True, slots=True)
class PriceQuery:
    """One question to the price book."""

    provider: str
    model: str
    at: date
    """UTC date whose price counts."""
    region: str | None = None
    geo: str | None = None
    prompt_over: int = 0
    processing: str = "batch"
    batch_created: date | None = None
    priced_as: str | None = None
    """The provider whose published prices hold for this one (a sandbox: those of the vendor that it imitates)."""
    standard_factor: Decimal | None = None
    """The provider's own batch price, as a share of its standard price, where it declares one."""


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million units of each bucket; a bucket that is absent has no known rate."""

    usd_per_million: Mapping[str, Decimal]
    estimated: bool = False
    """Derived from a standard price and a provider's usual discount."""
    estimated_buckets: frozenset[str] | None = None
    """The derived buckets, if only some are derived; None: `estimated` speaks for all."""
    flags: tuple[str, ...] = ()
    origin: str = ""
    """The row's source: `user`, `correction`, `litellm`, a plugin's name, …"""
    region: str | None = None
    """The region class whose price it is; None is the global price."""


class PriceSource(Protocol):
    """A price book, as the meter needs it."""

    @property
    def digest(self) -> str: ...

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Prompt sizes at which any row changes price, ascending; a prompt is in the tier when it is larger."""
        ...

    def rates(self, query: PriceQuery) -> Rates | None:
        """The rates of one group, or None where no row prices this model."""
        ...
