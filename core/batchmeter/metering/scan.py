"""The push scanner: bytes of a job's output files in, sums by price group out."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from batchmeter.pricing.groups import Group, GroupKey

from .compiled import Counting, Lane
from .counting import HEAD, MOST, PROMPT, REASONING, REPORTED, Counts, InvalidUsageError, UnknownCounterError, amount_in
from .dialects import CHAT, Answer, Dialect, Usage
from .envelope import NO_RESPONSE, UNDECIDED, Look, look_for, look_of
from .lines import MANY, MAX_LINE, SAMPLE, LineSplitter, Unreadable, without_vectors
from .repeats import Repeats
from .result import FREE, MAX_MODELS, UNKNOWN, Job, MalformedLine, Tally
from .strangers import REQUEST, Gate, kind_of
from .wire import REFUSED, loads

MAX_BAD_LINES = 20
_NO_GEO = frozenset({"", "global", "not_available"})
_ALWAYS_PRICED = frozenset({"input", "output"})
_ROWS = 128
"""Lines whose counts wait to be added up together: few enough to die young, so that no full garbage collection (25 ms)
is ever due to them.
"""
_NOTHING: Counts = (0, 0, 0, 0, None)
_FREE_LANE = Lane(CHAT, ())
_Key = tuple[str | None, int, str | None, str, Lane]
"""The members of a GroupKey, and the lane that says what the counts are."""


class Scanner:
    """Feed it one file after another; `tally` is complete after the last `end_file`."""

    def __init__(
        self,
        job: Job,
        *,
        boundaries: tuple[int, ...] = (),
        models: Mapping[int, str] | None = None,
        max_line: int = MAX_LINE,
        many_files: bool = False,
        gate: bool = False,
    ) -> None:
        self.tally = Tally()
        self._gate = Gate(self.tally) if gate else None
        self._job = job
        self._look: Look = look_for(job.provider) if job.dialects is None else look_of(job.dialects)
        self._own = self._look.own
        self._counting = Counting(self._look.dialects)
        self._boundaries = boundaries
        self._models = models or {}
        self._max_line = max_line
        self._lines = LineSplitter(max_line)
        self._number = 0
        self._file: str | None = None
        self._rows: dict[_Key, list[Counts]] = {}
        self._waiting = 0
        self._last: _Last | None = None
        self._repeats = Repeats(self.tally, self._own.repeats, many_files=many_files)
        self._makes_images = job.endpoint is not None and "/images/" in job.endpoint
        self._habits: dict[str | None, _Habit] = {}

    def start_file(self, name: str | None) -> None:
        self._file = name
        self._number = 0
        self._lines = LineSplitter(self._max_line)
        if self._gate is not None:
            self._gate.start(name)

    def feed(self, chunk: bytes) -> None:
        if self._gate is not None:
            self._gate.feed(chunk)
        self._take(self._lines.feed(chunk))

    def end_file(self) -> None:
        self._take(self._lines.close())
        self._sum_up()
        self._repeats.end_file()
        if self._gate is not None:
            self._gate.end()
        if self._counting.reread:
            self.tally.notes["usage_read_by_total"] = self._counting.reread

    def refuse_without_answers(self) -> None:
        """NotAnOutputError, for a scanner with a gate."""
        if self._gate is not None:
            self._gate.finish()

    def _take(self, lines: Iterable[Any]) -> None:
        """Bytes of a line, or Unreadable."""
        reader, is_repeat, answered = self._look.narrow, self._repeats.has, self._answer
        decode, read, job_model = reader.wire.strict, reader.read, self._job.model
        for raw in lines:
            self._number += 1
            if raw.__class__ is Unreadable:
                self._malformed(raw.reason, raw.sample)
                continue
            try:
                answer = read(decode(raw if len(raw) <= MANY else without_vectors(raw)), job_model)
            except REFUSED:
                answer = None
            if answer is None or (answer.usage is None and answer.failure in UNDECIDED):
                self._odd(raw)
            elif not is_repeat(answer, raw):
                answered(answer)

    def _odd(self, raw: bytes | bytearray) -> None:
        """A line that the provider's own tables find no usage in: a blank one, another's, a job's sums, a request, …"""
        if not raw.strip():
            return
        answer = self._look.answer(raw, self._job.model)
        found = loads(raw) if answer is None or answer.failure == NO_RESPONSE else None
        kind = kind_of(found)
        if answer is not None and kind != REQUEST:
            if not self._repeats.has(answer, raw):
                self._answer(answer)
        elif (sums := self._look.manifest(raw)) is not None:
            self.tally.manifest = sums
        else:
            if kind is not None:
                self.tally.strangers[kind] += 1
            unnamed = "not_an_answer" if isinstance(found, dict) else "invalid_json"
            self._malformed(kind or unnamed, bytes(raw[:SAMPLE]))

    def _malformed(self, reason: str, sample: bytes) -> None:
        tally = self.tally
        tally.total += 1
        tally.malformed += 1
        if len(tally.bad_lines) < MAX_BAD_LINES:
            text = sample.decode("utf-8", "replace")
            tally.bad_lines.append(MalformedLine(self._file, self._number, reason, text))

    def _answer(self, answer: Answer) -> None:
        tally, model, usage = self.tally, answer.model, answer.usage
        tally.total += 1
        if answer.failure is not None:
            self._failed(answer.failure)
            return
        tally.succeeded += 1
        if model is None or self._own.bills_job_model:
            model = self._model(answer)
        if usage is None:
            self._uncounted(model)
            return
        habit = self._habits.get(answer.model) or self._habit(answer.model)
        if habit.counter is not None:
            usage = {habit.counter: 1} | usage
        try:
            self._count(model, usage, answer.dialect or habit.kind or answer.kind)
        except InvalidUsageError as error:
            self._invalid(model, usage, error)

    def _failed(self, failure: str) -> None:
        tally = self.tally
        tally.failed += 1
        known = failure in tally.failures or len(tally.failures) < MAX_MODELS
        tally.failures[failure if known else "other"] += 1

    def _count(self, model: str | None, usage: Usage, by: Dialect | str | None) -> None:
        counted = self._counting.count(usage, by)
        if counted is None:
            self._uncounted(model)
            return
        lane, counts = counted
        last = self._last
        if last is not None and last.lane is lane and last.model == model and last.over < counts[0] <= last.upto:
            last.rows.append(counts)
            self._waiting += 1
            if self._waiting >= _ROWS:
                self._sum_up()
            return
        key, dialect = self._key(model, usage, lane, counts), lane.dialect
        if dialect.parts is not None and usage.get(dialect.parts[0]) is not None:
            self._add_parts(model, usage, by, (key, counts))
            return
        rows = self._rows.get(key)
        if rows is None:
            rows = self._rows[key] = []
        rows.append(counts)
        if not dialect.places and dialect.parts is None:
            self._last = _Last(model, lane, *self._tier(key[1]), rows)
        self._waiting += 1
        if self._waiting >= _ROWS:
            self._sum_up()

    def _add_parts(
        self, model: str | None, usage: Usage, by: Dialect | str | None, whole_line: tuple[_Key, Counts]
    ) -> None:
        """A line that took several requests counts once for each model that it has a part in."""
        name, parts_of = whole_line[0][4].dialect.parts or ("", lambda _: None)
        parts = parts_of(usage)
        if parts is None:
            raise UnknownCounterError(name)
        sums = {whole_line[0]: whole_line[1]}
        for part in parts:
            counted = self._counting.count(part.usage, by)
            if counted is None:
                raise InvalidUsageError(name)
            key = self._key(part.model or model, usage, *counted)
            sums[key] = _sum_of(sums[key], counted[1]) if key in sums else counted[1]
        models: set[str | None] = set()
        for key, counts in sums.items():
            self._add_rows(key, [counts], lines=key[0] not in models)
            models.add(key[0])

    def _invalid(self, model: str | None, usage: Usage, error: InvalidUsageError) -> None:
        amount = amount_in(usage)
        if amount is not None:
            group = self._group(GroupKey(model, buckets=(error.reason, "reported")))
            group.lines += 1
            group.counts[error.reason] = group.counts.get(error.reason, 0) + 1
            group.reported += amount
            group.reported_lines += 1
            return
        named = f"{error}: " if isinstance(error, UnknownCounterError) else ""
        self._lacks(model, error.reason, named)

    def _uncounted(self, model: str | None) -> None:
        if self._is_free(model):
            self._add_rows((model or UNKNOWN, 0, None, FREE, _FREE_LANE), [_NOTHING])
        else:
            self._lacks(model, "usage_missing")

    def _lacks(self, model: str | None, reason: str, named: str = "") -> None:
        where = f"{self._file} line {self._number}" if self._file else f"line {self._number}"
        self.tally.lacks(model, reason, f"{named}{where}")

    def _model(self, answer: Answer) -> str | None:
        job = self._job
        named = job.model or answer.model if self._own.bills_job_model else answer.model or job.model
        if named is None and answer.custom_id is not None:
            return self._models.get(hash(answer.custom_id))
        return named

    def _habit(self, model: str | None) -> "_Habit":
        own = self._own
        makes_images = self._makes_images or (model is not None and model.startswith(own.images or ("\0",)))
        counter = next(
            (c for start, c in own.per_answer.items() if model is not None and model.startswith(start)), None
        )
        habit = _Habit("images" if makes_images else None, counter)
        if len(self._habits) < MAX_MODELS:
            self._habits[model] = habit
        return habit

    def _is_free(self, model: str | None) -> bool:
        asked = self._job.endpoint or model or ""
        return any(word in asked for word in self._own.free)

    def _key(self, model: str | None, usage: Usage, lane: Lane, counts: Counts) -> _Key:
        bounds = self._boundaries
        at = bisect_left(bounds, counts[PROMPT])
        over = bounds[at - 1] if at else 0
        if not lane.dialect.places or self._own.bills_job_model:
            return (model, over, None, "batch", lane)
        geo = usage.get("inference_geo")
        standard = usage.get("service_tier") == "standard"
        named = isinstance(geo, str) and geo not in _NO_GEO
        return (model, over, geo if named else None, "standard" if standard else "batch", lane)

    def _sum_up(self) -> None:
        """Columns are added at C speed; the rows that wait are few."""
        for key, rows in self._rows.items():
            self._add_rows(key, rows)
        self._rows.clear()
        self._last = None
        self._waiting = 0

    def _tier(self, over: int) -> tuple[int, int]:
        """Prompts of one price: more than the first, and at most the second."""
        longer = [bound for bound in self._boundaries if bound > over]
        return (over or -1), (longer[0] if longer else MOST)

    def _add_rows(self, key: _Key, rows: list[Counts], *, lines: bool = True) -> None:
        """`lines`: whether the rows count as lines, or belong to lines that another group counts."""
        model, over, geo, processing, lane = key
        for used, part in _by_use(rows, lane.buckets):
            self._add_up(GroupKey(model, over, geo, processing, used), part, lane, len(part) if lines else 0)

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
        groups = self.tally.groups
        if key not in groups and len(groups) >= MAX_MODELS:
            key = GroupKey(None)
            self.tally.notes["too_many_models"] += 1
        return groups.setdefault(key, Group(0, {}))


class _Habit(NamedTuple):
    """Facts about a model's answers that no row of it tells."""

    kind: str | None
    counter: str | None
    """Counts one for each answer."""


class _Last(NamedTuple):
    """The price group of the line before: nearly every line has the same."""

    model: str | None
    lane: Lane
    over: int
    upto: int
    rows: list[Counts]


def _sum_of(one: Counts, other: Counts) -> Counts:
    amounts = [counts[REPORTED] for counts in (one, other)]
    sums = [0 if index == REPORTED else a + b for index, (a, b) in enumerate(zip(one, other, strict=True))]
    sums[REPORTED] = None if None in amounts else sum(amounts)
    return tuple(sums)


def _by_use(rows: list[Counts], buckets: tuple[str, ...]) -> list[tuple[tuple[str, ...], list[Counts]]]:
    """Rows apart by what they use beyond input and output: a missing rate is then no other line's trouble.

    Rows with the vendor's own amount are apart as well: it stands for all lines of its group.
    """
    columns = list(zip(*rows, strict=True))
    used = sorted(
        (bucket, index)
        for index, bucket in enumerate(buckets, HEAD)
        if bucket not in _ALWAYS_PRICED and any(columns[index])
    )
    if columns[REPORTED].count(None) < len(rows):
        used.append(("reported", REPORTED))
    parts: list[tuple[tuple[str, ...], list[Counts]]] = [((), rows)]
    for bucket, index in used:
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


def filled(tally: Tally, job: Job) -> Tally:
    """Where no row of a job counted and its manifest does, the manifest's sums are the usage of all its rows."""
    sums = tally.manifest
    missing = tally.unmetered.total()
    if sums is None or not missing or tally.groups or not any(sums.values()):
        return tally
    if any(reason != "usage_missing" for _, reason in tally.unmetered):
        return tally
    models = {model for model, _ in tally.unmetered}
    if len(models) == 1:
        tally.groups[GroupKey(models.pop() or job.model)] = Group(missing, {k: v for k, v in sums.items() if v})
        tally.unmetered.clear()
        tally.notes["usage_from_manifest"] += 1
    return tally
