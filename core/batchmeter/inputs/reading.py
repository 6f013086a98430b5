"""Reads a line that strict, typed decoding refused: as JSON where any reader would take it, else why not."""

import json
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from batchmeter.errors import InvalidInputError, Problem

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of msgspec; the last two are no DecodeErrors."""

_MARK = b"\xef\xbb\xbf"
_MARKED = "the file starts with a byte order mark; save it as UTF-8 without one"
_SIGNATURES = {
    b"\xff\xfe": "the file is UTF-16; save it as UTF-8",
    b"\xfe\xff": "the file is UTF-16; save it as UTF-8",
    b"\x1f\x8b": "the file is gzipped; unpack it",
    b"PK\x03\x04": "the file is a zip archive; unpack it",
    b"[": "the file is a JSON array; write one request per line (JSONL), without brackets and commas",
}
_SPREAD = "part of a JSON text spread over several lines; write each request on one line (JSONL)"
_FRAGMENTS = frozenset({b"{", b"}", b"[", b"]", b"},", b"],"})


@dataclass(slots=True)
class Reading:
    """One line, read tolerantly."""

    request: dict[str, Any] | None = None
    reason: str = ""
    """Why there is no request."""
    whole_file: bool = False
    """The reason holds for every line: the file is of another kind."""
    oddities: list[str] = field(default_factory=list[str])
    """Oddities that strict readers would refuse."""


def read(line: bytes, *, first: bool) -> Reading:
    """`first`: the line starts the file, whose signature may say what it really is."""
    found = Reading()
    try:
        parsed: object = json.loads(line.decode(), parse_constant=lambda name: _constant(name, found))
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8; save the file as UTF-8"
        found.reason = where
    except RecursionError:
        found.reason = "nested too deeply"
    except ValueError as error:
        found.reason = _SPREAD if line.strip() in _FRAGMENTS else f"not JSON: {error}"
    else:
        if isinstance(parsed, dict):
            found.request = cast("dict[str, Any]", parsed)
            _look_for_surrogates(found)
        else:
            found.reason = "not a JSON object; write one request per line"
    if first and found.request is None:
        _look_at_start(line, found)
    return found


def _look_at_start(line: bytes, found: Reading) -> None:
    if line.startswith(_MARK):
        found.reason = _MARKED
    elif known := next((reason for start, reason in _SIGNATURES.items() if line.startswith(start)), None):
        found.reason = known
        found.whole_file = True
    elif line.strip() in _FRAGMENTS:
        found.whole_file = True


def _constant(name: str, found: Reading) -> float:
    found.oddities.append(f"{name} is not JSON, though some readers take it; send null or a number")
    return float(name)


def _look_for_surrogates(found: Reading) -> None:
    """Half a character, escaped: Python's reader takes it, most others do not."""
    try:
        json.dumps(found.request, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        found.oddities.append("a lone surrogate escape (half a character, such as \\ud83d); many readers refuse it")


@dataclass(frozen=True, slots=True)
class InputSummary:
    """A file's contents, and its problems."""

    bytes: int
    lines: int
    """Requests: blank lines do not count."""
    models: tuple[str, ...]
    endpoint: str | None
    problems: tuple[Problem, ...]
    """The first 20 reasons for which the provider would refuse the file."""
    more: int = 0
    """How many problems there are beyond `problems`."""
    warnings: tuple[Problem, ...] = ()
    """The first 20 oddities: accepted, though not by every JSON reader."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def check(self, source: str) -> None:
        """Raises InvalidInputError, naming `source`, when there are problems."""
        if self.problems:
            raise InvalidInputError(source, self.problems, self.more)
