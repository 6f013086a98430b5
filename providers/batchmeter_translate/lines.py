"""JSON lines in and out: split on `\\n` only, decoded fast and then tolerantly, encoded whatever characters they hold."""

import json
from typing import Any

import msgspec

MAX_LINE = 64 * 1024 * 1024
"""Bytes. A longer line is never held; it is passed on as None."""

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Lines:
    """Any chunks in, whole lines out; None stands for a line that was too long."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes | None]:
        first, *rest = chunk.split(b"\n")
        self._hold(first)
        if not rest:
            return []
        lines = [self._take(), *rest[:-1]]
        self._hold(rest[-1])
        return lines

    def close(self) -> list[bytes | None]:
        return [self._take()] if self._size else []

    def _hold(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_line:
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def _take(self) -> bytes | None:
        line = b"".join(self._parts) if self._size <= self._max_line else None
        self._parts.clear()
        self._size = 0
        return line


def decode(line: bytes) -> Any:
    """ValueError for what is not JSON. Lone surrogates, which models do write, are read as they stand."""
    try:
        return msgspec.json.decode(line)
    except _UNREADABLE:
        pass
    try:
        return json.loads(line.decode("utf-8", "replace"), strict=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def encode_strictly(value: object) -> bytes:
    """One line with its line feed; UnicodeEncodeError for what UTF-8 cannot hold."""
    return msgspec.json.encode(value) + b"\n"


def encode(value: object) -> bytes:
    """One line with its line feed; what UTF-8 cannot hold is written as escapes."""
    try:
        return encode_strictly(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode() + b"\n"
