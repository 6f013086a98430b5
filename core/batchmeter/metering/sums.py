"""Adds up counts by price group: rows wait in columns, so that they are added at C speed."""

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from batchmeter.pricing.groups import Group, GroupKey

from .compiled import Lane
from .counting import HEAD, PROMPT, REASONING, REPORTED, Counts
from .dialects import Usage
from .result import MAX_MODELS, Tally

_NO_GEO = frozenset({"", "global", "not_available"})
_ALWAYS_PRICED = frozenset({"input", "output"})
_ROWS = 128
"""Lines whose counts wait to be added up together: few enough to die young, so that no full garbage collection (25 ms)
is ever due to them.
"""


class Key(NamedTuple):
    """The members of a GroupKey that are known before the sums, and the lane that says what the counts are."""

    model: str | None
    prompt_over: int
    geo: str | None
    processing: str
    lane: Lane


class Sums:
    """Fills the groups of a tally."""

    def __init__(self, tally: Tally, boundaries: tuple[int, ...], *, places: bool) -> None:
        self._tally = tally
        self._boundaries = boundaries
        self._places = places
        """Whether a line's own geo and tier count."""
        self._rows: dict[Key, list[Counts]] = {}
        self._waiting = 0

    def key(self, model: str | None, usage: Usage, lane: Lane, counts: Counts) -> Key:
        over = self._tier(counts[PROMPT])
        if not self.has_places(lane):
            return Key(model, over, None, "batch", lane)
        geo = usage.get("inference_geo")
        named = isinstance(geo, str) and geo not in _NO_GEO
        standard = usage.get("service_tier") == "standard"
        return Key(model, over, geo if named else None, "standard" if standard else "batch", lane)

    def has_places(self, lane: Lane) -> bool:
        return self._places and lane.dialect.places

    def add(self, key: Key, counts: Sequence[Counts]) -> None:
        """Lines of one price."""
        rows = self._rows.get(key)
        if rows is None:
            rows = self._rows[key] = []
        rows.extend(counts)
        self._waiting += len(counts)
        if self._waiting >= _ROWS:
            self.close()

    def add_all(self, model: str | None, lane: Lane, counts: list[Counts]) -> None:
        """Lines of one model, in a lane without places."""
        prompts = [row[PROMPT] for row in counts]
        over = self._tier(min(prompts))
        if over == self._tier(max(prompts)):
            self.add(Key(model, over, None, "batch", lane), counts)
            return
        for row, prompt in zip(counts, prompts, strict=True):
            self.add(Key(model, self._tier(prompt), None, "batch", lane), (row,))

    def close(self) -> None:
        """Add up the rows that wait."""
        for key, rows in self._rows.items():
            self.add_rows(key, rows)
        self._rows.clear()
        self._waiting = 0

    def add_rows(self, key: Key, rows: list[Counts], *, lines: bool = True) -> None:
        """At once. `lines`: whether the rows count as lines, or belong to lines that another group counts."""
        model, over, geo, processing, lane = key
        for used, part in _by_use(rows, lane.buckets):
            self._add_up(GroupKey(model, over, geo, processing, used), part, lane, len(part) if lines else 0)

    def add_amount(self, model: str | None, reason: str, amount: Decimal) -> None:
        """A line that cannot be counted, with the vendor's own amount: the reason stands for a bucket without a rate."""
        group = self._group(GroupKey(model, buckets=tuple(sorted((reason, "reported")))))
        group.lines += 1
        group.counts[reason] = group.counts.get(reason, 0) + 1
        group.reported += amount
        group.reported_lines += 1

    def _tier(self, prompt: int) -> int:
        at = bisect_left(self._boundaries, prompt)
        return self._boundaries[at - 1] if at else 0

    def _add_up(self, key: GroupKey, rows: list[Counts], lane: Lane, lines: int) -> None:
        columns = list(zip(*rows, strict=True))
        group = self._group(key)
        group.lines += lines
        group.reasoning += sum(columns[REASONING])
        if columns[REPORTED][0] is not None:
            group.reported += sum(columns[REPORTED], Decimal(0))
            group.reported_lines += len(rows)
        for bucket, column in zip(lane.buckets, columns[HEAD:], strict=True):
            if units := sum(column):
                group.counts[bucket] = group.counts.get(bucket, 0) + units

    def _group(self, key: GroupKey) -> Group:
        groups = self._tally.groups
        if key not in groups and len(groups) >= MAX_MODELS:
            key = GroupKey(None)
            self._tally.notes["too_many_models"] += 1
        return groups.setdefault(key, Group(0, {}))


def sum_of(one: Counts, other: Counts) -> Counts:
    """Two parts of one line."""
    amounts = [counts[REPORTED] for counts in (one, other)]
    sums = [0 if index == REPORTED else a + b for index, (a, b) in enumerate(zip(one, other, strict=True))]
    sums[REPORTED] = None if None in amounts else sum(amounts)
    return tuple(sums)


def _by_use(rows: list[Counts], buckets: tuple[str, ...]) -> list[tuple[tuple[str, ...], list[Counts]]]:
    """Rows apart by what they use beyond input and output: a missing rate is then no other line's trouble.

    Rows with the vendor's own amount are apart as well: it stands for all lines of its group.
    """
    columns = list(zip(*rows, strict=True))
    used = [
        (bucket, index)
        for index, bucket in enumerate(buckets, HEAD)
        if bucket not in _ALWAYS_PRICED and any(columns[index])
    ]
    if columns[REPORTED].count(None) < len(rows):
        used.append(("reported", REPORTED))
    parts: list[tuple[tuple[str, ...], list[Counts]]] = [((), rows)]
    for bucket, index in sorted(used):
        parts = [half for part in parts for half in _halves(*part, bucket, index) if half[1]]
    return parts


def _halves(
    used: tuple[str, ...], rows: list[Counts], bucket: str, index: int
) -> tuple[tuple[tuple[str, ...], list[Counts]], ...]:
    if index == REPORTED:
        have, lack = [r for r in rows if r[index] is not None], [r for r in rows if r[index] is None]
    else:
        have, lack = [r for r in rows if r[index]], [r for r in rows if not r[index]]
    return ((*used, bucket), have), (used, lack)
