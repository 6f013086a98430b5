"""Figures of a vendor: rows of its usage report or bill, added up by day, model and kind of token, in bounded memory."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Context, Decimal, InvalidOperation, localcontext
from typing import Any

from batchmeter.errors import UsageError
from batchmeter.pricing.groups import INPUT_BUCKETS, UNITS

EXACT = Context(prec=60)
DOLLARS = "USD"
MOST_CELLS = 200_000
"""Days x models x kinds of one comparison: a bill with more names no models."""
MOST_UNMATCHED = 200
"""Texts that are listed; the sum of all others stands under one name."""
MOST_SCOPES = 50
"""Projects or resources of one cell that are told apart."""
LONGEST = 200
"""Characters of a text that are kept."""
OTHERS = "(others)"
_LARGEST = Decimal(10) ** 18
_FINEST = -40

TOKEN_KINDS: Mapping[str, frozenset[str]] = {
    "prompt": frozenset(INPUT_BUCKETS),
    "uncached_input": frozenset({"input", "audio_in", "image_in", "video_in"}),
    "cached_input": frozenset({"cached_input", "cached_audio_in", "cached_image_in", "cached_video_in"}),
    "cache_write": frozenset({"cache_write_5m", "cache_write_1h"}),
    "output": frozenset({"output", "audio_out", "image_out", "video_out"}),
}
"""Kind -> the buckets of ours that it holds. `prompt` is all of the input; the others are disjoint."""
KINDS = (*TOKEN_KINDS, *UNITS, "requests")
KIND_OF = {bucket: kind for kind, buckets in TOKEN_KINDS.items() if kind != "prompt" for bucket in buckets} | {
    unit: unit for unit in UNITS
}
"""Bucket -> its disjoint kind."""
BILL_KINDS = tuple(kind for kind in KINDS if kind not in ("prompt", "requests"))
"""Kinds that bills tell apart."""


@dataclass(frozen=True, slots=True)
class BilledRow:
    """One row of a vendor's report. `item` alone, without a model: a text that nobody can read."""

    day: date | None
    """UTC; None for a row that is about more than a day."""
    model: str = ""
    kind: str = ""
    quantity: Decimal | None = None
    """Tokens, or other units; None where this report does not count them."""
    amount: Decimal | None = None
    """None where this report names no money."""
    currency: str = DOLLARS
    scope: str = ""
    """The project, workspace, subscription or key."""
    batch: bool | None = True
    """None: the report does not tell batches from other calls."""
    item: str = ""
    silent: bool = False
    """The report leaves the quantity out of this row: the sum over the day is not known."""


@dataclass(slots=True)
class Cell:
    """One day, model and kind."""

    quantity: Decimal | None = None
    amount: Decimal | None = None
    silent: bool = False
    foreign: str = ""
    """A currency other than US dollars, whose amounts are not added."""
    scopes: dict[str, Decimal] = field(default_factory=dict[str, Decimal])

    def add(self, row: BilledRow) -> None:
        self.silent = self.silent or row.silent
        if row.quantity is not None:
            self.quantity = (self.quantity or Decimal(0)) + row.quantity
            if row.scope:
                scope = row.scope if row.scope in self.scopes or len(self.scopes) < MOST_SCOPES else OTHERS
                self.scopes[scope] = self.scopes.get(scope, Decimal(0)) + row.quantity
        if row.amount is None:
            return
        if row.currency.upper() != DOLLARS:
            self.foreign = row.currency.upper()
        else:
            self.amount = (self.amount or Decimal(0)) + row.amount


@dataclass(slots=True)
class Sum:
    """Rows that are in no comparison."""

    rows: int = 0
    amount: Decimal = Decimal(0)
    """US dollars; rows of other currencies are counted only."""
    quantity: Decimal = Decimal(0)
    batch: bool = False
    """The text says that it is about batches."""
    first: date | None = None
    last: date | None = None

    def add(self, row: BilledRow) -> None:
        self.rows += 1
        self.batch = self.batch or bool(row.batch)
        if row.amount is not None and row.currency.upper() == DOLLARS:
            self.amount += row.amount
        self.quantity += row.quantity or Decimal(0)
        if row.day is not None:
            self.first = row.day if self.first is None else min(self.first, row.day)
            self.last = row.day if self.last is None else max(self.last, row.day)


@dataclass(slots=True)
class Figures:
    """All that one question to a vendor, or one bill, came to."""

    first: date
    last: date
    exclusive: bool = False
    """All that the report names is batches'."""
    kinds: tuple[str, ...] = BILL_KINDS
    """Kinds that the report tells apart: of any other nothing follows from its absence."""
    through: date | None = None
    """The last day that the report reaches; None: all that was asked for."""
    cells: dict[tuple[str, str, date], Cell] = field(default_factory=dict[tuple[str, str, date], Cell])
    unmatched: dict[str, Sum] = field(default_factory=dict[str, Sum])
    other: Sum = field(default_factory=Sum)
    """Readable rows of calls outside of batches."""
    unsplit: frozenset[str] = frozenset()
    """Endpoints whose batches the report does not tell from other calls."""
    notes: list[str] = field(default_factory=list[str])
    digest: Any = field(default_factory=hashlib.sha256)
    rows: int = 0

    def add(self, row: BilledRow) -> None:
        """Rows of other days are dropped; UsageError for a report that no ledger can be compared with."""
        if row.day is not None and not self.first <= row.day <= self.last:
            return
        with localcontext(EXACT):
            self._place(replace(row, batch=True) if row.batch is None and self.exclusive else row)

    def _place(self, given: BilledRow) -> None:
        row = given
        if max(len(given.model), len(given.item), len(given.scope)) > LONGEST:
            row = replace(given, model=given.model[:LONGEST], item=given.item[:LONGEST], scope=given.scope[:LONGEST])
        self.rows += 1
        if not row.kind or not row.model or row.day is None:
            text = row.item if row.item in self.unmatched or len(self.unmatched) < MOST_UNMATCHED else OTHERS
            self.unmatched.setdefault(text, Sum()).add(row)
        elif not row.batch:
            self.other.add(row)
        else:
            key = (row.model, row.kind, row.day)
            if key not in self.cells and len(self.cells) >= MOST_CELLS:
                raise UsageError(
                    f"more than {MOST_CELLS:,} different days, models and kinds: this is no bill of a model's tokens, "
                    "or compare fewer days at once"
                )
            self.cells.setdefault(key, Cell()).add(row)

    def saw(self, content: bytes) -> None:
        """Bytes that the figures were read from."""
        self.digest.update(content)

    @property
    def models(self) -> set[str]:
        return {model for model, _, _ in self.cells}


def number(given: object) -> Decimal:
    """A finite number of a size that a bill can hold; ValueError for anything else."""
    if isinstance(given, bool) or not isinstance(given, int | Decimal | str):
        raise ValueError(f"{str(given)[:60]!r} is not a number")  # noqa: TRY004 - as for a text that is none
    try:
        found = Decimal(given.strip() if isinstance(given, str) else given)
    except (InvalidOperation, ValueError):
        raise ValueError(f"{str(given)[:60]!r} is not a number") from None
    if not found.is_finite() or found.copy_abs() > _LARGEST:
        raise ValueError(f"{str(given)[:60]!r} is not an amount that a bill can hold")
    exponent = found.as_tuple().exponent
    assert isinstance(exponent, int)
    return found if exponent >= _FINEST else round(found, -_FINEST)
