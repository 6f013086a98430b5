"""The choice of lines: by content alone, so that each reading of a batch's files chooses the same ones."""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Reason = Literal["failed", "dearest", "ratio"]
Kept = TypeVar("Kept")

MOST = 10_000
_WHOLE = 2**64


class LineSample(BaseModel):
    """The lines of a finished batch that a logger gets one by one, and how much of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    failed: Annotated[int, Field(ge=0, le=MOST)] = 1000
    """At most so many of the failed lines."""
    dearest: Annotated[int, Field(ge=0, le=MOST)] = 100
    """So many of the lines that cost most."""
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the other lines, chosen by batch and custom_id."""
    most: Annotated[int, Field(ge=1, le=MOST)] = MOST
    """At most so many lines of a batch: failed ones first, then the dearest."""
    content: bool = False
    """Send prompts, answers and error messages as well."""
    content_bytes: Annotated[int, Field(ge=1, le=1 << 22)] = 256 << 10
    """A line whose request or answer is larger is sent without it."""


@dataclass(slots=True)
class Best(Generic[Kept]):
    """The items with the highest ranks, at most `limit`; what falls out of it is forgotten."""

    limit: int
    _heap: list[tuple[tuple[Decimal, int, int], int, Kept]] = field(
        default_factory=list["tuple[tuple[Decimal, int, int], int, Kept]"]
    )
    _count: int = 0

    def takes(self, rank: tuple[Decimal, int, int]) -> bool:
        return self.limit > 0 and (len(self._heap) < self.limit or rank > self._heap[0][0])

    def add(self, rank: tuple[Decimal, int, int], item: Kept) -> None:
        self._count += 1
        push = heapq.heappush if len(self._heap) < self.limit else heapq.heapreplace
        push(self._heap, (rank, -self._count, item))

    def __iter__(self) -> Iterator[Kept]:
        """Highest rank first."""
        return (item for _, _, item in sorted(self._heap, key=lambda one: one[:2], reverse=True))


def place(account: str, batch_id: str, custom_id: str) -> int:
    """A number below 2**64, as good as drawn by lot, and the same each time."""
    digest = hashlib.sha256(f"{account}\x1f{batch_id}\x1f{custom_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


class Choice(Generic[Kept]):
    """Takes all lines of a batch in any order; the chosen ones are known at the end."""

    def __init__(self, sample: LineSample) -> None:
        self._sample = sample
        self._bound = sample.ratio * _WHOLE
        self._failed = Best[tuple[str, Kept]](min(sample.failed, sample.most))
        self._dearest = Best[tuple[str, Kept]](min(sample.dearest, sample.most))
        self._rest = Best[tuple[str, Kept]](sample.most if sample.ratio else 0)

    def wanted(self, drawn: int, *, failed: bool, cost: Decimal | None, tokens: int) -> list[Best[tuple[str, Kept]]]:
        """Where a line belongs, as far as is known by now; what it is kept as goes to `add`."""
        self._rank = lot = (Decimal(0), 0, -drawn)
        self._dear = (Decimal(-1) if cost is None else cost, tokens, -drawn)
        if failed:
            return [self._failed] if self._failed.takes(lot) else []
        wanted = [self._dearest] if self._dearest.takes(self._dear) else []
        return [*wanted, self._rest] if drawn < self._bound and self._rest.takes(lot) else wanted

    def add(self, wanted: list[Best[tuple[str, Kept]]], custom_id: str, item: Kept) -> None:
        for best in wanted:
            best.add(self._dear if best is self._dearest else self._rank, (custom_id, item))

    def chosen(self) -> Iterator[tuple[Reason, Kept]]:
        """Each custom_id once."""
        names: set[str] = set()
        every: tuple[tuple[Reason, Best[tuple[str, Kept]]], ...] = (
            ("failed", self._failed),
            ("dearest", self._dearest),
            ("ratio", self._rest),
        )
        for reason, best in every:
            for custom_id, item in best:
                if custom_id not in names and len(names) < self._sample.most:
                    names.add(custom_id)
                    yield reason, item
