"""Where the sandbox keeps things: a journal of what happened and one file per content, in one folder.

State is the journal read from the start; every process that shares the folder reads on where it stopped. So a batch
submitted by one process is followed by another, and a restart forgets nothing.
"""

import json
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Folder:
    """A folder of the sandbox's own; without a path a temporary one, gone when closed."""

    def __init__(self, path: str | Path | None = None, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        self.path = Path(path) if path else Path(tempfile.mkdtemp(prefix="batchmeter-sandbox-"))
        self.path.mkdir(parents=True, exist_ok=True)
        self._journal = os.open(self.path / "journal.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._read_to = 0
        self._close = weakref.finalize(self, _close, self._journal, None if path else self.path)

    def append(self, record: dict[str, Any]) -> None:
        """One write, so that records of several processes never mix."""
        os.write(self._journal, json.dumps(record).encode() + b"\n")

    def news(self) -> Iterator[dict[str, Any]]:
        """The records since the last call, this process's own included."""
        size = os.fstat(self._journal).st_size
        if size == self._read_to:
            return
        raw = os.pread(self._journal, size - self._read_to, self._read_to)
        whole = raw[: raw.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.split(b"\n")[:-1]:
            yield json.loads(line)

    def room(self) -> float:
        """Bytes that its files may still grow by, results that were written included."""
        if self._max_bytes is None:
            return math.inf
        return self._max_bytes - sum(entry.stat().st_size for entry in os.scandir(self.path))

    def content(self, file_id: str) -> Path:
        return self.path / file_id

    def close(self) -> None:
        self._close()


def _close(journal: int, temporary: Path | None) -> None:
    os.close(journal)
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
