"""Writes records to what is no regular file: this process's stdout or stderr, a FIFO, a terminal."""

import os
import re
import stat
from pathlib import Path

_OWN = re.compile(r"/dev/(stdout|stderr)|/(?:dev|proc/self)/fd/(\d+)")
_NUMBERS = {"stdout": 1, "stderr": 2}


def stream_of(path: Path) -> "Stream | None":
    """The stream that a path names; None for a file. OSError with the reason for what cannot take records."""
    own = _OWN.fullmatch(str(path))
    if own is not None:
        number = _NUMBERS[own[1]] if own[1] else int(own[2])
        os.fstat(number)
        return Stream(path, number)
    try:
        mode = path.stat().st_mode
    except OSError:
        return None  # a file that is yet to be made
    if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
        raise OSError("it is a socket or a disk: name a file, a FIFO or /dev/stdout")
    return None if stat.S_ISREG(mode) else Stream(path, None)


class Stream:
    """`append` returns when the record is handed over; nobody can say whether it is on a disk."""

    def __init__(self, path: Path, number: int | None) -> None:
        self._path = path
        self._number = number
        """A descriptor of this process: written to as it is, so that what else is printed is not written over."""

    def append(self, record: bytes) -> None:
        if self._number is not None:
            _write_all(self._number, record)
            return
        # Without a reader a FIFO's open would wait for ever; like this it fails, and the event is tried again.
        file = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.set_blocking(file, True)
            _write_all(file, record)
        finally:
            os.close(file)

    def sync(self) -> None:
        """There is nothing to bring to a disk."""


def _write_all(file: int, record: bytes) -> None:
    rest = memoryview(record)
    while rest:
        rest = rest[os.write(file, rest) :]
