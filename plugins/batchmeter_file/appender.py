"""Appends records to a file that other processes, and logrotate, write and rename at the same time.

Nothing is kept open between two records: each takes the lock on a sidecar file, opens the path, and lets go. So a fork
or an external rename at any moment cannot go wrong, and a lock never outlives its holder. That costs a fraction of a
millisecond beside the sync.
"""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Literal

from .rotation import next_free, prune

Fsync = Literal["always", "interval", "never"]
INTERVAL = 1.0
"""Seconds between two syncs of `fsync = "interval"`."""
_FILE_MODE = 0o640
_FOLDER_MODE = 0o750


class Appender:
    """One file; `append` returns when the record is written (and synced, as `fsync` says), or raises OSError."""

    def __init__(
        self,
        path: Path,
        *,
        fsync: Fsync = "always",
        max_bytes: int | None = None,
        max_age: timedelta | None = None,
        keep: int | None = None,
    ) -> None:
        self.path = path
        self.lock_path = path.with_name(f".{path.name}.lock")
        """Empty; its modification time says when the current file was begun."""
        self._fsync, self._max_bytes, self._max_age, self._keep = fsync, max_bytes, max_age, keep
        self._synced_at = 0.0

    def append(self, record: bytes) -> None:
        self.path.parent.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
        with _locked(self.lock_path) as lock:
            if self._is_full(len(record), lock):
                with contextlib.suppress(FileNotFoundError):  # logrotate, which knows no lock, was faster
                    self._rotate()
            with _opened(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as file:
                size = _size(file, self.path)
                if size == 0:
                    os.utime(lock)
                _write(file, size, record)
                self._sync_if_due(file, new=size == 0)

    def sync(self) -> None:
        """Bring what `interval` left open to the disk."""
        if self._fsync == "interval" and self.path.exists():
            with _opened(self.path, os.O_RDWR) as file:
                os.fdatasync(file)

    def _is_full(self, more: int, lock: int) -> bool:
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return False
        too_large = self._max_bytes is not None and size + more > self._max_bytes
        age = time.time() - os.fstat(lock).st_mtime
        too_old = self._max_age is not None and age > self._max_age.total_seconds()
        return size > 0 and (too_large or too_old)

    def _rotate(self) -> None:
        if self._fsync != "never":
            with _opened(self.path, os.O_RDWR) as file:
                os.fdatasync(file)
        self.path.rename(next_free(self.path))
        if self._keep is not None:
            prune(self.path, self._keep)

    def _sync_if_due(self, file: int, *, new: bool) -> None:
        now = time.monotonic()
        if self._fsync == "never" or (self._fsync == "interval" and now - self._synced_at < INTERVAL):
            return
        os.fdatasync(file)
        if new:  # the file's name, and the rename before it, live in the folder
            with _opened(self.path.parent, os.O_RDONLY | os.O_DIRECTORY) as folder:
                os.fsync(folder)
        self._synced_at = now


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Generator[int]:
    file = os.open(path, flags | os.O_CLOEXEC, _FILE_MODE)
    try:
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def _locked(path: Path) -> Generator[int]:
    """The flock excludes threads too, as each call opens its own description of the file."""
    with _opened(path, os.O_RDWR | os.O_CREAT) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield lock
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # also frees it in a child forked meanwhile, which closing would not


def _size(file: int, path: Path) -> int:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a regular file; the file logger needs one")
    return status.st_size


def _write(file: int, size: int, record: bytes) -> None:
    """One write. A torn last line (its writer was killed) is closed first, so that only it is unreadable."""
    torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
    whole = b"\n" + record if torn else record
    written = os.write(file, whole)
    if written != len(whole):
        os.ftruncate(file, size)
        raise OSError(f"only {written} of {len(whole)} bytes could be written; is the disk full?")
