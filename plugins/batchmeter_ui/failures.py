"""Failed lines of a batch by error code, with some of their custom_ids: read from the provider's files when asked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from batchmeter.errors import BatchmeterError

from .view import View

_MOST_BYTES = 16 << 20
_MOST_SAMPLES = 20
_MOST_CODES = 50
_LONGEST_LINE = 1 << 20
_OK = range(200, 300)


@dataclass(slots=True)
class Code:
    message: str
    lines: int = 0
    samples: list[str] = field(default_factory=list[str])
    """The first custom_ids."""


@dataclass(slots=True)
class Failures:
    codes: dict[str, Code] = field(default_factory=dict[str, Code])
    notes: list[str] = field(default_factory=list[str])
    """Remarks on files that were not read, and why."""

    def add(self, line: bytes) -> None:
        try:
            row: object = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(row, dict):
            return
        found = _error_of(cast("dict[str, Any]", row))
        if found is None:
            return
        code, message = found
        if code not in self.codes and len(self.codes) >= _MOST_CODES:
            code, message = "other codes", ""
        one = self.codes.setdefault(code, Code(message))
        one.lines += 1
        if len(one.samples) < _MOST_SAMPLES:
            one.samples.append(str(cast("dict[str, Any]", row).get("custom_id", ""))[:500])


def _error_of(row: dict[str, Any]) -> tuple[str, str] | None:
    """Code and message; None for a line that succeeded."""
    response, error = _object(row.get("response")), _object(row.get("error"))
    status = response.get("status_code")
    if not error and (status is None or (isinstance(status, int) and status in _OK)):
        return None
    error = error or _object(_object(response.get("body")).get("error"))
    code = error.get("code") or error.get("type") or (f"HTTP {status}" if status else "no code")
    return str(code)[:200], str(error.get("message") or "")[:2000]


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


async def read_failures(view: View, account: str, file_ids: Sequence[str]) -> Failures:
    """At most 16 MB of each file; what a provider refuses is a note."""
    found = Failures()
    for file_id in file_ids:
        try:
            async with view.call.transfer(), view.host.stream_file(account, file_id) as chunks:
                await _read(found, file_id, chunks)
        except BatchmeterError as error:
            found.notes.append(f"{file_id} cannot be read: {error}")
    return found


async def _read(found: Failures, file_id: str, chunks: Any) -> None:
    rest, size = b"", 0
    async for chunk in chunks:
        size += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            found.add(line)
        rest = b"" if len(rest) > _LONGEST_LINE else rest
        if size >= _MOST_BYTES:
            found.notes.append(f"Only the first {_MOST_BYTES >> 20} MB of {file_id} were read: there may be more.")
            return
    found.add(rest)
