"""Bytes in, lines out: any chunking, gzip or plain, split on `\\n` only, no line held that is too long to be one."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .longline import LONG, LongLine

MAX_LINE = 64 * 1024 * 1024
"""Bytes that one line may hold, without the inside of its long strings. More is reported with its start, not held."""
SAMPLE = 120
"""Bytes of a bad line that are kept to show."""

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_INFLATED = 256 * 1024
"""Bytes one step of decompression may produce: a small file can inflate to any size."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that cannot be given: too long, or lost to broken compression."""

    reason: str
    sample: bytes


class LineSplitter:
    """One file's lines, without their `\\n` or `\\r\\n`; a byte order mark at the start is dropped."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._head = b""
        self._plain = False
        self._inflater: _Inflater | None = None
        self._rest = bytearray()
        self._long: LongLine | None = None
        self._skipped = b""
        self._first = True

    @property
    def held(self) -> int:
        """Bytes that wait for their newline."""
        return len(self._rest) if self._long is None else len(self._long)

    def feed(self, chunk: bytes) -> Iterator[bytes | bytearray | Unreadable]:
        """The lines that this chunk completes. Exhaust it before the next call."""
        if self._plain:
            yield from self._split(chunk)
        elif self._inflater is not None:
            yield from self._inflate(chunk)
        else:
            yield from self._sniff(self._head + chunk, last=False)

    def close(self) -> Iterator[bytes | bytearray | Unreadable]:
        """The last line, where no newline ends it."""
        if not self._plain and self._inflater is None:
            yield from self._sniff(self._head, last=True)
        if self._skipped or self.held:
            yield self._finish(b"")
        if self._inflater is not None and self._inflater.unfinished:
            yield Unreadable("gzip_truncated", b"")

    def _sniff(self, head: bytes, *, last: bool) -> Iterator[bytes | bytearray | Unreadable]:
        if len(head) < len(_GZIP) and not last:
            self._head = head
            return
        self._head = b""
        if head.startswith(_GZIP):
            self._inflater = _Inflater()
            yield from self._inflate(head)
        else:
            self._plain = True
            yield from self._split(head)

    def _inflate(self, chunk: bytes) -> Iterator[bytes | bytearray | Unreadable]:
        assert self._inflater is not None
        for piece in self._inflater.feed(chunk):
            if piece is None:
                yield Unreadable("gzip_corrupt", b"")
            else:
                yield from self._split(piece)

    def _split(self, chunk: bytes) -> Iterator[bytes | bytearray | Unreadable]:
        end = chunk.find(b"\n")
        if end < 0:
            self._hold(chunk)
            return
        yield self._finish(chunk[:end])
        start = end + 1
        find = chunk.find
        short = min(LONG, self._max_line)
        while (end := find(b"\n", start)) >= 0:
            yield chunk[start:end] if end - start <= short else self._finish(chunk[start:end])
            start = end + 1
        if start < len(chunk):
            self._hold(chunk[start:])

    def _hold(self, piece: bytes) -> None:
        if self._skipped:
            return
        if self._long is not None:
            self._long.add(piece)
        else:
            self._rest += piece
            if len(self._rest) > LONG:
                self._long, self._rest = LongLine(self._rest), self._rest[:SAMPLE]
        if self.held > self._max_line:
            self._skipped = bytes(self._rest[:SAMPLE])
            self._rest, self._long = bytearray(), None

    def _finish(self, piece: bytes) -> bytes | bytearray | Unreadable:
        self._hold(piece)
        line = self._long.text() if self._long is not None else self._rest
        skipped = self._skipped
        self._rest, self._long, self._skipped = bytearray(), None, b""
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        return Unreadable("line_too_long", skipped) if skipped else line


class _Inflater:
    """Gzip members one after another, in pieces of bounded size; None once where the data breaks."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._started = False
        self._broken = False

    @property
    def unfinished(self) -> bool:
        return self._started and not self._broken and not self._member.eof

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        while data and not self._broken:
            if self._member.eof:
                data = data.lstrip(b"\0")  # tar and tape pad with zeros
                if not data:
                    return
                self._member = zlib.decompressobj(wbits=31)
            try:
                piece = self._member.decompress(data, _INFLATED)
            except zlib.error:
                self._broken = True
                yield None
                return
            self._started = True
            if piece:
                yield piece
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
