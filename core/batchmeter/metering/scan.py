"""The push scanner: bytes of a job's output files in, sums by price group out."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from .answers import Counter
from .blocks import BlockReader, Plain, block_reader
from .envelope import NO_RESPONSE, UNDECIDED, Look, look_for, look_of
from .lines import LONG, MANY, MAX_LINE, SAMPLE, LineSplitter, Unreadable, without_vectors
from .repeats import Repeats
from .result import Job, MalformedLine, Tally
from .wire import REFUSED, loads

REQUEST, BATCH, MANIFEST, FAILURE = "a_request", "a_batch", "a_manifest", "an_error"
"""Names of JSON objects that are no answers."""
MAX_BAD_LINES = 20
CHUNK = 64 * 1024
"""Bytes looked at together: more at once is no faster, and takes memory."""
_LEARN = 256
"""Lines after which a shape is looked for that more of them may have; making its types takes two milliseconds."""
_FEW = 3
"""Lines of a block that may be of another shape: failed ones, for the most part."""
_MISSES = 6
"""Blocks in a row with more of them, each after a longer pause, until another shape is looked for."""


class Scanner:
    """Feed it one file after another; `tally` is complete after the last `end_file`."""

    def __init__(
        self,
        job: Job,
        *,
        max_line: int = MAX_LINE,
        many_files: bool = False,
    ) -> None:
        self.tally = Tally()
        self._job = job
        self._look: Look = look_for(job.provider) if job.dialects is None else look_of(job.dialects)
        self._counter = Counter(job, self._look, self.tally, job.prices.boundaries, self._place)
        self._repeats = Repeats(self.tally, self._look.own.repeats, many_files=many_files)
        self._max_line = max_line
        self._lines = LineSplitter(max_line)
        self._number = 0
        self._file: str | None = None
        self._blocks: BlockReader | None = None
        self._learn_at = _LEARN
        self._misses = self._pause = 0

    def start_file(self, name: str | None) -> None:
        self._file = name
        self._number = 0
        self._lines = LineSplitter(self._max_line)

    def feed(self, chunk: bytes) -> None:
        for start in range(0, len(chunk), CHUNK):
            for piece in self._lines.blocks(chunk[start : start + CHUNK]):
                if not isinstance(piece, bytes):
                    self._take((piece,))
                elif not self._take_block(piece):
                    self._take(self._lines.lines(piece))
                    if self._blocks is None and self._number >= self._learn_at and self._repeats.is_by_id:
                        self._learn(piece)

    def end_file(self) -> None:
        self._take(self._lines.close())
        self._counter.close()
        self._repeats.end_file()

    def _take_block(self, block: bytes) -> bool:
        """Whether its lines were of the known shape, but for few, and are counted."""
        reader = self._blocks
        if reader is None or self._pause or len(block) > min(LONG, self._max_line):
            self._pause = max(self._pause - 1, 0)
            return False
        if self._add_plain(reader, reader.read(block)):
            return True
        odd = 0
        lines = cast("Iterable[bytes]", self._lines.lines(block))  # none is long
        for raws, plain in reader.read_apart(lines):
            if not self._add_plain(reader, plain):
                odd += len(raws)
                self._take(raws)
        self._misses = self._misses + 1 if odd > _FEW else 0
        self._pause = 2**self._misses - 1
        if self._misses > _MISSES:
            self._blocks, self._misses, self._pause = None, 0, 0
        return True

    def _add_plain(self, reader: BlockReader, plain: Plain | None) -> bool:
        if plain is None or not self._counter.all_plain(plain.models) or not self._repeats.has_none(plain.ids):
            return False
        if plain.ids:
            self._counter.add_plain(plain.models, plain.counts, reader.lane)
        self._number += len(plain.ids)
        return True

    def _learn(self, block: bytes) -> None:
        """Look whether the last line of this block is a plain answer."""
        self._learn_at = self._number * 2
        reader = self._look.narrow
        raw = block[block.rfind(b"\n", 0, -1) + 1 : -1]
        try:
            line = reader.wire.strict(raw)
        except REFUSED:
            return
        answer = reader.read(line)
        if answer is None or not answer.custom_id or without_vectors(raw) is not raw:
            return  # a vector's numbers are faster cut out than skipped
        dialect = self._counter.dialect_of(answer)
        self._blocks = None if dialect is None else block_reader(reader.wire, line, answer, dialect, reader.beside)

    def _take(self, lines: Iterable[Any]) -> None:
        """Bytes of each line, or Unreadable."""
        reader, job_model, repeats, counter = self._look.narrow, self._job.model, self._repeats, self._counter
        decode, read = reader.wire.strict, reader.read
        for raw in lines:
            self._number += 1
            if raw.__class__ is Unreadable:
                self._malformed(raw.reason, raw.sample)
                continue
            try:
                answer = read(decode(raw if len(raw) <= MANY else without_vectors(raw)), job_model)
            except REFUSED:
                answer = None
            if answer is None or (answer.usage is None and (answer.failure in UNDECIDED or not answer.custom_id)):
                self._odd(raw)
            elif not repeats.has(answer, raw):
                counter.add(answer)

    def _place(self) -> str:
        return f"line {self._number}" if self._file is None else f"{self._file} line {self._number}"

    def _odd(self, raw: bytes | bytearray) -> None:
        """A line that the provider's own tables find no usage in: a blank one, another's, a job's sums, a request, …"""
        if not raw.strip():
            return
        answer = self._look.answer(raw, self._job.model)
        doubtful = answer is None or answer.failure == NO_RESPONSE or not (answer.custom_id or answer.failure is None)
        found = loads(raw) if doubtful else None
        kind = kind_of(found)
        if answer is not None and answer.failure == NO_RESPONSE and self._look.has_content(found):
            answer.failure = None
        if answer is not None and kind is None:
            if not self._repeats.has(answer, raw):
                self._counter.add(answer)
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


def kind_of(value: object) -> str | None:
    """The name of a JSON object that is no answer; None where it has none."""
    if not isinstance(value, dict):
        return None
    found = cast("Mapping[str, Any]", value)
    if found.get("object") == "batch" or "processing_status" in found or "batchStats" in found:
        return BATCH
    if found.get("type") == "error" or (set(found) <= {"error", "request_id", "type"} and found.get("error")):
        return FAILURE
    if "totalRecordCount" in found:
        return MANIFEST
    return REQUEST if _is_request(found) else None


def _is_request(found: Mapping[str, Any]) -> bool:
    if any(found.get(key) is not None for key in ("response", "result", "modelOutput", "status", "error")):
        return False
    if "response" in found and "body" not in found:
        return False
    return any(isinstance(found.get(key), dict) for key in ("body", "params", "modelInput", "request"))
