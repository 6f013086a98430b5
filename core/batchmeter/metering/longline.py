"""A line of megabytes, held small: the inside of its long strings (images in base64, whole books) is not needed.

Decoding such a line in one go would stop the event loop for its whole length. Cut into units, a unit that lies inside
one string entirely is dropped; what is left is the same JSON with that string shortened.
"""

LONG = 1024 * 1024
"""Bytes from which a line is long."""
UNIT = 64 * 1024
DROPPED = b"\\u0000"
"""Stands where something was dropped, so that a body sent as a string is not taken for whole JSON."""

_ESCAPE = 6
"""Bytes of the longest escape, `\\uXXXX`."""


class LongLine:
    """Feed it the line from its start; `text` is its shortened self."""

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
