"""Bytes in, lines out: any chunking, gzip or plain, split on `\\n` only, no line held that is too long to be one."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

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


LONG = 1024 * 1024
"""Bytes from which a line is long."""
UNIT = 64 * 1024
DROPPED = b"\\u0000"
"""Stands where something was dropped, so that a body sent as a string is not taken for whole JSON."""
_ESCAPE = 6
"""Bytes of the longest escape, `\\uXXXX`."""
MANY = 8 * 1024
"""Bytes from which a line is looked through for embeddings."""
_KEY = b'"embedding":'
_OPENINGS = frozenset({b"", b'{"values":'})
"""May stand between key and array."""
_NOT_NUMBERS = (b'"', b"[", b"{")


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
        for piece in self.blocks(chunk):
            if isinstance(piece, bytes):
                yield from self.lines(piece)
            else:
                yield piece

    def blocks(self, chunk: bytes) -> Iterator[bytes | bytearray | Unreadable]:
        """As `feed`, lines not yet apart: `bytes` are whole lines with their newlines, a bytearray is one without."""
        if self._plain:
            yield from self._split(chunk)
        elif self._inflater is not None:
            yield from self._inflate(chunk)
        else:
            yield from self._sniff(self._head + chunk, last=False)

    def lines(self, block: bytes) -> Iterator[bytes | bytearray | Unreadable]:
        """The lines of a block."""
        start = 0
        find = block.find  # `split` is three times as slow
        short = min(LONG, self._max_line)
        while (end := find(b"\n", start)) >= 0:
            yield block[start:end] if end - start <= short else self._finish(block[start:end])
            start = end + 1

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
        end = chunk.rfind(b"\n") + 1
        start = 0
        if end and (self._first or self._long is not None or self._skipped):
            start = chunk.find(b"\n") + 1
            yield self._finish(chunk[: start - 1])
        if end > start:
            block = chunk[start:end]
            if self._rest:
                block = bytes(self._rest) + block
                self._rest = bytearray()
            yield block
        if end < len(chunk):
            self._hold(chunk[end:] if end else chunk)

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

    def _finish(self, piece: bytes) -> bytearray | Unreadable:
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


class LongLine:
    """A line of megabytes, held small: the inside of its long strings (images in base64, whole books) is not needed.

    Decoding such a line in one go would stop the event loop for its whole length. Cut into units, a unit that lies
    inside one string entirely is dropped; what is left, `text`, is the same JSON with that string shortened.
    """

    def __init__(self, start: bytes | bytearray) -> None:
        self._kept = bytearray()
        self._rest = bytearray(start)
        self._in_string = False
        self._dropping = False
        self._take(LONG)
        self.add(b"")

    def __len__(self) -> int:
        return len(self._kept) + len(self._rest)

    def add(self, piece: bytes) -> None:
        self._rest += piece
        while len(self._rest) >= UNIT + _ESCAPE:
            self._take(UNIT)

    def text(self) -> bytearray:
        return self._kept + self._rest

    def _take(self, size: int) -> None:
        size -= _unfinished_escape(self._rest[:size])
        unit = bytes(self._rest[:size])
        del self._rest[:size]
        quotes = _quotes(unit)
        if self._in_string and not quotes:
            if not self._dropping:
                self._kept += DROPPED
            self._dropping = True
            return
        self._kept += unit
        self._dropping = False
        self._in_string ^= quotes % 2 == 1


def _quotes(unit: bytes) -> int:
    """Quotes that open or close a string."""
    plain = unit.replace(b"\\\\", b"")
    return plain.count(b'"') - plain.count(b'\\"')


def _unfinished_escape(unit: bytearray) -> int:
    """How many bytes at the end belong to an escape that goes on, or may: `\\`, `\\u12`. Units start between escapes."""
    last = unit.rfind(b"\\", max(len(unit) - _ESCAPE + 1, 0))
    if last < 0:
        return 0
    before = len(unit[:last].rstrip(b"\\"))
    if before:
        return len(unit) - before
    return len(unit) - last if last % 2 == 0 else 0


def without_vectors(line: bytes | bytearray) -> bytes | bytearray:
    """The same line, its embeddings empty: numbers are most of its bytes, and nothing counts them.

    The bytes `"embedding":` in valid JSON are always a key, or the end of one: inside a string its quotes would be
    escaped. So a real array follows, and an array without quotes or brackets in it is all numbers.
    """
    at = line.find(_KEY)
    if at < 0:
        return line
    pieces: list[bytes | bytearray] = []
    done = 0
    while at >= 0:
        start = line.find(b"[", at, at + 64)
        end = line.find(b"]", start) if start >= 0 else -1
        if end < 0 or not _is_vector(line, at + len(_KEY), start, end):
            break  # some other shape: decoding copes with it
        pieces.append(line[done : start + 1])
        done = end
        at = line.find(_KEY, end)
    return b"".join([*pieces, line[done:]])


def _is_vector(line: bytes | bytearray, after_key: int, start: int, end: int) -> bool:
    opening = bytes(line[after_key:start]).replace(b" ", b"")
    return opening in _OPENINGS and all(line.find(other, start + 1, end) < 0 for other in _NOT_NUMBERS)
