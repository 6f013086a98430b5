"""Cuts the numbers of embeddings out of a line before it is decoded: they are most of its bytes, and nothing counts them.

The bytes `"embedding":` in valid JSON are always a key, or the end of one: inside a string its quotes would be escaped.
So what follows is a real array, and an array without quotes or brackets in it is all numbers.
"""

MANY = 8 * 1024
"""Bytes from which a line is looked through."""

_KEY = b'"embedding":'
_OPENINGS = frozenset({b"", b'{"values":'})
"""What may stand between key and array: OpenAI's way and Google's."""
_NOT_NUMBERS = (b'"', b"[", b"{")


def without_vectors(line: bytes | bytearray) -> bytes | bytearray:
    """The same line, its embeddings empty."""
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
