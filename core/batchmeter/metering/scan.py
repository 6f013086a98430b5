"""The push scanner: bytes of a job's output files in, sums by price group out."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from operator import itemgetter

from batchmeter.pricing.groups import Group, GroupKey

from .counting import HEAD, Counts, InvalidUsageError, count
from .dialects import CHAT, IMAGES, RESPONSES, Dialect
from .envelope import Answer, read
from .lines import MAX_LINE, SAMPLE, LineSplitter, Unreadable
from .tally import FREE, UNKNOWN, Job, MalformedLine, Tally
from .wire import Line, decode

MAX_IDS = 250_000
"""Ids remembered to notice repeats: more than any vendor but Mistral allows in a job, and about 16 MB."""
MAX_BAD_LINES = 20
_MODELS = 10_000
"""Different model names kept apart; a file that invents one a line must not fill the memory."""
_NO_GEO = frozenset({"", "global", "not_available"})
_ALWAYS_PRICED = frozenset({"input", "output"})
_ROWS = 128
"""Lines whose counts wait to be added up together: few enough to die young, so that no full garbage collection (25 ms)
is ever due to them.
"""
_NOTHING: Counts = (0,) * (HEAD + len(CHAT.buckets))
_Key = tuple[str | None, int, str | None, str, Dialect]
"""The members of a GroupKey, and the dialect that says what the counts are."""
_IMAGE_MODELS = ("gpt-image", "chatgpt-image", "dall-e")
"""Their usage has the names of the Responses API, but its output is images, also where no details say so."""
_SEARCH_MODELS = ("gpt-4o-search-preview", "gpt-4o-mini-search-preview", "gpt-5-search-api")
"""Chat models that search for each answer, which is billed and in no counter."""
_UNBILLED_MODERATIONS = frozenset({"openai", "azure"})


class Scanner:
    """Feed it one file after another; `tally` is complete after the last `end_file`."""

    def __init__(
        self,
        job: Job,
        *,
        boundaries: tuple[int, ...] = (),
        models: Mapping[int, str] | None = None,
        max_line: int = MAX_LINE,
    ) -> None:
        self.tally = Tally()
        self._job = job
        self._boundaries = boundaries
        self._models = models or {}
        self._max_line = max_line
        self._lines = LineSplitter(max_line)
        self._number = 0
        self._file: str | None = None
        self._rows: dict[_Key, list[Counts]] = {}
        self._waiting = 0
        self._ids: set[int] = set()
        self._earlier: set[int] = set()
        self._failed: dict[int, str] = {}
        self._once = job.provider == "vertex_ai"

    def start_file(self, name: str | None) -> None:
        self._file = name
        self._number = 0
        self._lines = LineSplitter(self._max_line)

    def feed(self, chunk: bytes) -> None:
        self._take(self._lines.feed(chunk))

    def end_file(self) -> None:
        self._take(self._lines.close())
        self._sum_up()
        if self._once:
            self._earlier |= self._ids
            self._ids = set()

    def _take(self, lines: Iterable[bytes | bytearray | Unreadable]) -> None:
        for raw in lines:
            self._number += 1
            if isinstance(raw, Unreadable):
                self._malformed(raw.reason, raw.sample)
                continue
            line = decode(raw)
            answer = read(line) if line is not None else None
            if answer is not None:
                self._answer(answer)
            elif raw.strip():
                self._odd(line, raw)

    def _odd(self, line: Line | None, raw: bytes | bytearray) -> None:
        if line is not None and line.total_record_count is not None:
            self.tally.manifest = {
                "inputTokenCount": line.input_token_count or 0,
                "outputTokenCount": line.output_token_count or 0,
            }
            return
        self._malformed("invalid_json" if line is None else "not_an_answer", bytes(raw[:SAMPLE]))

    def _malformed(self, reason: str, sample: bytes) -> None:
        tally = self.tally
        tally.total += 1
        tally.malformed += 1
        if len(tally.bad_lines) < MAX_BAD_LINES:
            text = sample.decode("utf-8", "replace")
            tally.bad_lines.append(MalformedLine(self._file, self._number, reason, text))

    def _answer(self, answer: Answer) -> None:
        failure = answer.failure
        if answer.custom_id is not None and self._seen(hash(answer.custom_id), failure):
            return
        tally = self.tally
        tally.total += 1
        if failure is None:
            tally.succeeded += 1
            self._meter(answer)
            return
        tally.failed += 1
        known = failure in tally.failures or len(tally.failures) < _MODELS
        tally.failures[failure if known else "other"] += 1

    def _seen(self, identity: int, failure: str | None) -> bool:
        """Whether this line must not be counted: Vertex AI may export a row in an incremental and in a final file."""
        if identity in self._earlier:
            return self._exported_again(identity, failure)
        if identity in self._ids:
            self.tally.duplicates += 1
        elif len(self._ids) + len(self._earlier) < MAX_IDS:
            self._ids.add(identity)
        else:
            self.tally.notes["duplicates_not_checked"] += 1
        if self._once and failure is not None:
            self._failed[identity] = failure
        return False

    def _exported_again(self, identity: int, failure: str | None) -> bool:
        """A row that failed at first and then was answered is an answer."""
        tally = self.tally
        first = self._failed.pop(identity, None) if failure is None else None
        if first is None:
            tally.repeated += 1
            return True
        tally.total -= 1
        tally.failed -= 1
        tally.failures -= Counter([first])
        return False

    def _meter(self, answer: Answer) -> None:
        model = self._model(answer)
        try:
            counted = _counted(answer, self._job)
        except InvalidUsageError:
            self._lacks(model, "usage_invalid")
            return
        if counted is not None:
            self._add(self._key(model, answer, counted), counted[1])
        elif self._free(model):
            self._add((model or UNKNOWN, 0, None, FREE, CHAT), _NOTHING)
        else:
            self._lacks(model, "usage_missing")

    def _lacks(self, model: str | None, reason: str) -> None:
        unmetered = self.tally.unmetered
        many = len(unmetered) >= _MODELS and (model, reason) not in unmetered
        unmetered[None if many else model, reason] += 1

    def _model(self, answer: Answer) -> str | None:
        job = self._job
        named = job.model or answer.model if job.provider == "bedrock" else answer.model or job.model
        if named is None and answer.custom_id is not None:
            return self._models.get(hash(answer.custom_id))
        return named

    def _free(self, model: str | None) -> bool:
        job = self._job
        moderates = "moderation" in (job.endpoint or model or "")
        return moderates and job.provider in _UNBILLED_MODERATIONS

    def _key(self, model: str | None, answer: Answer, counted: tuple[Dialect, Counts]) -> _Key:
        dialect, (prompt, *_) = counted
        bounds = self._boundaries
        at = bisect_left(bounds, prompt)
        over = bounds[at - 1] if at else 0
        usage = answer.usage
        if usage is None or not dialect.places or self._job.provider == "bedrock":
            return (model, over, None, "batch", dialect)
        geo = usage.get("inference_geo")
        standard = usage.get("service_tier") == "standard"
        named = isinstance(geo, str) and geo not in _NO_GEO
        return (model, over, geo if named else None, "standard" if standard else "batch", dialect)

    def _add(self, key: _Key, counts: Counts) -> None:
        rows = self._rows.get(key)
        if rows is None:
            rows = self._rows[key] = []
        rows.append(counts)
        self._waiting += 1
        if self._waiting >= _ROWS:
            self._sum_up()

    def _sum_up(self) -> None:
        """Columns are added at C speed; what waits is bounded."""
        for (model, over, geo, processing, dialect), rows in self._rows.items():
            for used, part in _by_use(rows, tuple(dialect.buckets)):
                self._add_up(GroupKey(model, over, geo, processing, used), part, dialect)
            differing = sum(1 for _, _, total, placed, *_ in rows if total and total != placed)
            if differing:
                self.tally.notes["usage_total_differs"] += differing
        self._rows.clear()
        self._waiting = 0

    def _add_up(self, key: GroupKey, rows: list[Counts], dialect: Dialect) -> None:
        _, reasoning, _, _, *sums = map(sum, zip(*rows, strict=True))
        group = self._group(key)
        group.lines += len(rows)
        group.reasoning += reasoning
        for bucket, units in zip(dialect.buckets, sums, strict=False):
            if units:
                group.counts[bucket] = group.counts.get(bucket, 0) + units

    def _group(self, key: GroupKey) -> Group:
        groups = self.tally.groups
        if key not in groups and len(groups) >= _MODELS:
            key = GroupKey(None)
            self.tally.notes["too_many_models"] += 1
        return groups.setdefault(key, Group(0, {}))


def _by_use(rows: list[Counts], buckets: tuple[str, ...]) -> list[tuple[tuple[str, ...], list[Counts]]]:
    """Rows apart by what they use beyond input and output: a missing rate is then no other line's trouble."""
    parts: list[tuple[tuple[str, ...], list[Counts]]] = [((), rows)]
    for index, bucket in sorted(enumerate(buckets, HEAD), key=lambda pair: pair[1]):
        if bucket in _ALWAYS_PRICED or not any(map(itemgetter(index), rows)):
            continue
        halves = [
            half
            for used, part in parts
            for half in (
                ((*used, bucket), [row for row in part if row[index]]),
                (used, [row for row in part if not row[index]]),
            )
        ]
        parts = [(used, part) for used, part in halves if part]
    return parts


def _counted(answer: Answer, job: Job) -> tuple[Dialect, Counts] | None:
    usage, dialect = answer.usage, answer.dialect
    if usage is None or dialect is None:
        return None
    if dialect is RESPONSES and ("/images/" in (job.endpoint or "") or (answer.model or "").startswith(_IMAGE_MODELS)):
        dialect = IMAGES
    elif dialect is CHAT and answer.model is not None and answer.model.startswith(_SEARCH_MODELS):
        usage = {"num_search_queries": 1} | usage
    return count(dialect, usage, reasoning_beside=job.provider == "xai")
