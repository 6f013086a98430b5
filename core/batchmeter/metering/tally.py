"""What a scan adds up, and the job it belongs to."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date

from batchmeter.pricing.groups import Group, GroupKey, PriceSource
from batchmeter.pricing.price import Ask, PriceModel
from batchmeter.providers import ContentStream

UNKNOWN = "unknown"
"""The name under which lines are shown that no line, batch or input names a model for."""
LINES_MALFORMED = "lines_malformed"
"""Reason: lines that cannot be read, and may be answers that were billed."""
FREE = "free"
"""`GroupKey.processing` of lines that their vendor does not bill (moderations): zero, and known to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the lines do not say themselves."""

    provider: str = "openai"
    endpoint: str | None = None
    region: str | None = None
    model: str | None = None
    """For lines that name none; on Bedrock for all lines, as AWS bills by the job's model id."""
    priced_at: date | None = None
    """UTC date whose prices count; by default today."""
    completed: int | None = None
    """How many good answers there are, where the provider says: unreadable lines beyond these cost nothing."""
    created: date | None = None
    """UTC date the batch was created, to flag a price change since."""
    prices: PriceSource | None = None
    """By default the embedded price book."""
    price_model: PriceModel | None = None
    """From a line's model to the one to price (Azure: deployment -> model)."""
    ask: Ask | None = None
    """Tried before `prices` (the `price_lines` hook)."""
    input_file: Callable[[], AbstractAsyncContextManager[ContentStream]] | None = None
    """Opens the batch's input; read only when a line names no model and neither does the job."""


@dataclass(frozen=True, slots=True)
class MalformedLine:
    """A line that is no answer at all."""

    file: str | None
    line: int
    """1-based, blank lines counted."""
    reason: str
    """`invalid_json`, `not_an_answer`, `line_too_long`, `gzip_corrupt`, `gzip_truncated`."""
    sample: str
    """Its first 120 bytes."""


@dataclass(slots=True)
class Tally:
    """Sums over all lines of a job."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    malformed: int = 0
    duplicates: int = 0
    """Lines whose custom_id came before; they are counted and billed, as vendors do."""
    repeated: int = 0
    """Rows that Vertex AI exported twice: counted and billed once."""
    groups: dict[GroupKey, Group] = field(default_factory=dict[GroupKey, Group])
    unmetered: Counter[tuple[str | None, str]] = field(default_factory=Counter[tuple[str | None, str]])
    """(model, reason) -> succeeded lines without usable usage."""
    details: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Reason of `unmetered` -> its first lines, as `file-abc line 7`."""
    failures: Counter[str] = field(default_factory=Counter[str])
    """Error code -> lines."""
    bad_lines: list[MalformedLine] = field(default_factory=list[MalformedLine])
    notes: Counter[str] = field(default_factory=Counter[str])
    manifest: dict[str, int] | None = None
    """Bedrock's own sums of the job."""

    def doubtful(self, completed: int | None) -> int:
        """Unreadable lines that may be billed answers: all of them, unless the provider counts fewer."""
        return self.malformed if completed is None else min(self.malformed, max(completed - self.succeeded, 0))
