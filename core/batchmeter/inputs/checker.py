"""The push checker: common lines are decoded many at once; only one that something is wrong with is read again.

Memory holds the custom_ids and one line, whatever the file's size. It splits lines itself: metering's splitter unpacks
gzip and forgives a byte order mark, where a provider would refuse the file.
"""

import asyncio
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from batchmeter.errors import Problem, UsageError
from batchmeter.input_limits import MB, OPENAI, REQUIRED, InputLimits

from .rules import (
    UNREADABLE,
    Facts,
    Fault,
    InputSummary,
    count_inputs,
    faults,
    is_embeddings,
    read,
)

CHUNK = 64 * 1024
MAX_PROBLEMS = 20


_ABSENT = msgspec.Raw()


class _Body(msgspec.Struct, gc=False):
    model: str | None = None
    stream: bool | None = None
    messages: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT
    prompt: msgspec.Raw = _ABSENT


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    method: str
    url: str
    body: _Body


_decode = msgspec.json.Decoder(_Line).decode
_decode_lines = msgspec.json.Decoder(_Line).decode_lines
_OPENS, _CLOSES = b"{}"
_NOTHING = (_ABSENT, msgspec.Raw(b"null"))
_FIELD: dict[str, Callable[[_Body], msgspec.Raw]] = {
    endpoint: attrgetter(name) for endpoint, names in REQUIRED.items() for name in names if name != "model"
}
"""Members that a body must have besides `model`, which is checked against the models of earlier lines."""
_decode_input = msgspec.json.Decoder(str | list[Any]).decode


@dataclass(slots=True)
class InputChecker:
    """Push chunks of any size into `feed`, then `close` for the verdict; chunk borders never change it."""

    endpoint: InitVar[str | None] = None
    """The batch's endpoint; None: the first good line's url decides."""
    limits: InputLimits = OPENAI
    _facts: Facts = field(init=False)
    _problems: list[Problem] = field(default_factory=list[Problem], init=False)
    _more: int = field(default=0, init=False)
    _warnings: list[Problem] = field(default_factory=list[Problem], init=False)
    _held: list[bytes] = field(default_factory=list[bytes], init=False)
    _length: int = field(default=0, init=False)
    """Bytes of the line that is still coming in, held or not."""
    _size: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)
    _lines: int = field(default=0, init=False)
    _over: bool = field(default=False, init=False)
    """The whole file is refused: from here on bytes and lines are only counted."""

    def __post_init__(self, endpoint: str | None) -> None:
        self._facts = Facts(self.limits, endpoint)

    @property
    def refused(self) -> bool:
        """Whether it has found a problem so far."""
        return bool(self._problems)

    def feed(self, chunk: bytes) -> None:
        """Looks at the next bytes of the file."""
        start, before = 0, self._size
        if self._length and (end := chunk.find(b"\n")) >= 0:
            self._size = before + end + 1
            self._hold(chunk[:end])
            self._line(self._take())
            start = end + 1
        if not self._length:
            start = self._block(chunk, start)
        while not self._length and (end := chunk.find(b"\n", start)) >= 0:
            self._size = before + end + 1
            fits = not self._over and end - start <= self.limits.line_bytes
            self._line(chunk[start:end] if fits else None)
            start = end + 1
        self._size = before + len(chunk)
        self._hold(chunk[start:])
        self._check_size()

    def close(self) -> InputSummary:
        """The verdict; a last line without a line feed counts."""
        if self._length:
            self._line(self._take())
        if not self._lines and not self._problems:
            self._add(Problem("empty_file", "the file has no requests; write one JSON object per line"))
        return InputSummary(
            bytes=self._size,
            lines=self._lines,
            models=tuple(model for model in self._facts.models if model),
            endpoint=self._facts.endpoint,
            problems=tuple(self._problems),
            more=self._more,
            warnings=tuple(self._warnings),
        )

    def _hold(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > self.limits.line_bytes or self._over:
            self._held.clear()
        elif piece:
            self._held.append(piece)

    def _take(self) -> bytes | None:
        """The line that was held; None when it was too long for that."""
        line = b"".join(self._held) if self._length <= self.limits.line_bytes and not self._over else None
        self._held.clear()
        self._length = 0
        return line

    def _line(self, line: bytes | None) -> None:
        self._number += 1
        self._check_size()
        if line is not None and not self._over and self._lines < self.limits.lines and self._is_plain(line):
            self._lines += 1
            return
        if line is not None and not line.strip() and not self._over:
            return
        self._lines += 1
        if self._over:
            return
        if self._lines > self.limits.lines:
            self._break("too_many_lines", f"more than {self.limits.lines:,} requests; split the file", self._number)
        elif line is None:
            most = f"longer than {self.limits.line_bytes:,} bytes; send less, or a reference to it"
            self._report(Fault("line_too_long", most), None)
        else:
            self._explain(line)

    def _block(self, chunk: bytes, start: int) -> int:
        """Takes plain lines in one go: where the first line begins that has to be looked at by itself."""
        end = chunk.rfind(b"\n") + 1
        limits = self.limits
        if self._over or end - start > limits.line_bytes or self._size + end > limits.bytes:
            return start
        ends = _ends(chunk, start, end)
        if not ends or self._lines + len(ends) > limits.lines:
            return start
        try:
            requests = _decode_lines(memoryview(chunk)[start:end])
            if not chunk.isascii():
                chunk[start:end].decode()
        except UNREADABLE:
            return start
        if len(requests) != len(ends):
            return start
        for request, at in zip(requests, ends, strict=True):
            self._number += 1
            if not self._plain(request):
                self._number -= 1
                return start
            self._lines += 1
            start = at + 1
        return start

    def _is_plain(self, line: bytes) -> bool:
        try:
            request = _decode(line)
            if not line.isascii():
                line.decode()
        except UNREADABLE:
            return False
        return self._plain(request)

    def _plain(self, request: _Line) -> bool:
        """True, and remembered, for a line with nothing to say about."""
        facts = self._facts
        body, url, custom_id = request.body, request.url, request.custom_id
        if (
            url != facts.endpoint
            or request.method != "POST"
            or body.stream
            or (body.model or None) not in facts.models
            or custom_id in facts.ids
            or len(custom_id) < facts.limits.shortest_custom_id
            or facts.limits.refused
            or ((field := _FIELD.get(url)) is not None and field(body) in _NOTHING)
        ):
            return False
        if body.input is not _ABSENT and is_embeddings(url):
            try:
                facts.inputs += count_inputs(_decode_input(body.input))
            except UNREADABLE:
                return False
            self._check_inputs()
        facts.ids[custom_id] = self._number
        return True

    def _explain(self, line: bytes) -> None:
        """Reads the line again, tolerantly, to report everything that is wrong with it."""
        reading = read(line, first=self._number == 1)
        for oddity in reading.oddities[: MAX_PROBLEMS - len(self._warnings)]:
            self._warnings.append(Problem("not_interoperable", oddity, self._number))
        if reading.request is None:
            self._report(Fault("invalid_json_line", reading.reason), None)
            self._over = reading.whole_file
            return
        custom_id = reading.request.get("custom_id")
        known = custom_id if isinstance(custom_id, str) else None
        for fault in faults(reading.request, self._facts):
            self._report(fault, known)
        if known:
            self._facts.ids.setdefault(known, self._number)
        self._check_inputs()

    def _check_inputs(self) -> None:
        most = self.limits.embedding_inputs
        if self._facts.inputs > most:
            self._break("too_many_inputs", f"more than {most:,} embedding inputs in one file; split it", self._number)

    def _check_size(self) -> None:
        if self._size > self.limits.bytes:
            self._break("file_too_large", f"the file is larger than {self.limits.bytes // MB} MB; split it", None)

    def _break(self, code: str, message: str, line: int | None) -> None:
        if not self._over:
            self._over = True
            self._facts.ids.clear()
            self._add(Problem(code, message, line))

    def _report(self, fault: Fault, custom_id: str | None) -> None:
        self._add(Problem(fault.code, fault.message, self._number or None, custom_id, fault.param))

    def _add(self, problem: Problem) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)
        else:
            self._more += 1


def _ends(chunk: bytes, start: int, end: int) -> list[int]:
    """Where its lines end, if each begins with a brace and ends with one; then none of them can be part of an object.

    No JSON value has `}` and `{` on two sides of nothing but a line feed: as many objects as lines are one in each.
    """
    found: list[int] = []
    find = chunk.find
    while start < end:
        at = find(b"\n", start)
        if chunk[start] != _OPENS or chunk[at - 1] != _CLOSES:
            return []
        found.append(at)
        start = at + 1
    return found


def check_path(path: str | Path, endpoint: str | None = None, limits: InputLimits = OPENAI) -> InputSummary:
    """Checks a file on disk; UsageError when it cannot be read."""
    checker = InputChecker(endpoint, limits)
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(CHUNK):
                checker.feed(chunk)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return checker.close()


async def check_file(path: str | Path, endpoint: str | None = None, limits: InputLimits = OPENAI) -> InputSummary:
    """`check_path` off the event loop."""
    return await asyncio.to_thread(check_path, path, endpoint, limits)
