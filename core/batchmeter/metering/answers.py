"""Adds answers to a tally, each by its model and dialect; a line that cannot be counted is added with its reason.

Rows wait in columns by price group, so that they are added at C speed.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from batchmeter.pricing.groups import Group, GroupKey

from .compiled import Counting, Lane
from .counting import (
    HEAD,
    PROMPT,
    REASONING,
    REPORTED,
    Counts,
    InvalidUsageError,
    UnknownCounterError,
    amount_in,
    has_amounts,
    has_details,
)
from .dialects import Answer, Dialect, Usage
from .envelope import Look
from .result import FREE, MAX_MODELS, UNKNOWN, Job, Tally

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

    def add_free(self, model: str) -> None:
        """A line that its vendor does not bill."""
        self._group(GroupKey(model, processing=FREE)).lines += 1

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


class _Habit(NamedTuple):
    """Facts about a model's answers that no row of it tells."""

    kind: str | None = None
    counter: str | None = None
    """Counts one for each answer."""
    kinds: tuple[str, str] | None = None
    """As `Dialects.kinds`."""


_NO_HABIT = _Habit()


class Counter:
    """Counts one job's answers; `place` tells where the line stands that is added, should it not be countable."""

    def __init__(
        self,
        job: Job,
        look: Look,
        tally: Tally,
        boundaries: tuple[int, ...],
        place: Callable[[], str],
    ) -> None:
        self._job = job
        self._own = look.own
        self._tally = tally
        self._place = place
        self._counting = Counting(look.dialects)
        self._sums = Sums(tally, boundaries, places=not look.own.bills_job_model)
        self._reporting = next((dialect for dialect in look.dialects if dialect.reported), None)
        self._makes_images = job.endpoint is not None and "/images/" in job.endpoint
        self._habit = lru_cache(MAX_MODELS)(self._habit_of)

    def close(self) -> None:
        """Complete the tally."""
        self._sums.close()
        if self._counting.reread:
            self._tally.notes["usage_read_by_total"] = self._counting.reread

    def dialect_of(self, answer: Answer) -> Dialect | None:
        """Of an answer that is like all others of its model and kind; None where more has to be known of each."""
        if answer.usage is None or answer.dialect is not None or not self._is_plain(answer.model):
            return None
        try:
            found = self._counting.count(answer.usage, answer.kind)
        except InvalidUsageError:
            return None
        return None if found is None or self._sums.has_places(found[0]) else found[0].dialect

    def all_plain(self, models: Sequence[str]) -> bool:
        """Whether nothing but their counters has to be known of these models' answers."""
        return all(map(self._is_plain, set(models)))

    def add_plain(self, models: Sequence[str], counts: list[Counts], lane: Lane) -> None:
        """Answers of plain models, one shape and dialect."""
        names = set(models)
        self._tally.total += len(counts)
        self._tally.succeeded += len(counts)
        for name in names:
            own = counts if len(names) == 1 else [c for c, model in zip(counts, models, strict=True) if model == name]
            self._sums.add_all(name, lane, own)

    def _is_plain(self, model: str | None) -> bool:
        return bool(model) and not self._own.bills_job_model and self._habit(model) == _NO_HABIT

    def add(self, answer: Answer) -> None:
        """Any answer, failed ones too."""
        tally, model, usage = self._tally, answer.model, answer.usage
        tally.total += 1
        if answer.failure is not None:
            self._failed(answer.failure)
            if has_amounts(usage):
                self._tally.lacks(self._model(answer), "failed_with_usage", self._place())
            return
        tally.succeeded += 1
        if model is None or self._own.bills_job_model:
            model = self._model(answer)
        if usage is None:
            self._uncounted(model)
            return
        habit = self._habit(answer.model)
        if habit.counter is not None:
            usage = {habit.counter: 1} | usage
        by = answer.dialect or habit.kind or answer.kind
        try:
            if habit.kinds is not None and not has_details(usage, *habit.kinds):
                raise UnknownCounterError(habit.kinds[0])
            counted = self._counting.count(usage, by)
            if counted is None:
                self._uncounted(model)
            else:
                self._add(model, usage, by, *counted)
        except InvalidUsageError as error:
            self._invalid(model, usage, error)
            self._add_counters(model, usage, by)

    def _failed(self, failure: str) -> None:
        tally = self._tally
        tally.failed += 1
        known = failure in tally.failures or len(tally.failures) < MAX_MODELS
        tally.failures[failure if known else "other"] += 1

    def _add(self, model: str | None, usage: Usage, by: Dialect | str | None, lane: Lane, counts: Counts) -> None:
        """A line that took several requests counts once for each model that it has a part in."""
        key = self._sums.key(model, usage, lane, counts)
        name, parts_of = lane.dialect.parts or ("", None)
        if parts_of is None or usage.get(name) is None:
            self._sums.add(key, (counts,))
            return
        parts = parts_of(usage)
        if parts is None:
            raise UnknownCounterError(name)
        sums = {key: counts}
        for part in parts:
            counted = self._counting.count(part.usage, by)
            if counted is None:
                raise InvalidUsageError(name)
            own = self._sums.key(part.model or key.model, usage, *counted)
            sums[own] = sum_of(sums[own], counted[1]) if own in sums else counted[1]
        models: set[str | None] = set()
        for each, row in sums.items():
            self._sums.add_rows(each, [row], lines=each.model not in models)
            models.add(each.model)

    def _invalid(self, model: str | None, usage: Usage, error: InvalidUsageError) -> None:
        amount = self._amount_in(usage)
        if amount is not None:
            self._sums.add_amount(model, error.reason, amount)
            return
        named = f"{error}: " if isinstance(error, UnknownCounterError) else ""
        self._tally.lacks(model, error.reason, f"{named}{self._place()}")

    def _add_counters(self, model: str | None, usage: Usage, by: Dialect | str | None) -> None:
        """Of a line with an unknown item beside its counters, which are good: what they cost is known."""
        counters = {name: value for name, value in usage.items() if "." not in name}
        if len(counters) == len(usage) or self._amount_in(usage) is not None:
            return
        try:
            counted = self._counting.count(counters, by)
        except InvalidUsageError:
            return
        if counted is not None and counted[0].dialect.parts is None:
            self._sums.add_rows(self._sums.key(model, usage, *counted), [counted[1]], lines=False)

    def _amount_in(self, usage: Usage) -> Decimal | None:
        return None if self._reporting is None else amount_in(self._reporting, usage)

    def _uncounted(self, model: str | None) -> None:
        endpoint, name = self._job.endpoint or "", model or ""
        if any(word in endpoint or name.startswith(word) for word in self._own.free):
            self._sums.add_free(model or UNKNOWN)
        else:
            self._tally.lacks(model, "usage_missing", self._place())

    def _model(self, answer: Answer) -> str | None:
        job = self._job
        named = job.model or answer.model if self._own.bills_job_model else answer.model or job.model
        if named is None and answer.custom_id is not None:
            return job.models.get(hash(answer.custom_id))
        return named

    def _habit_of(self, model: str | None) -> _Habit:
        own, name = self._own, model or ""
        makes_images = self._makes_images or name.startswith(own.images)
        counter = next((counter for pattern, counter in own.per_answer.items() if re.match(pattern, name)), None)
        kinds = next((kinds for pattern, kinds in own.kinds.items() if re.match(pattern, name)), None)
        return _Habit("images" if makes_images else None, counter, kinds)
