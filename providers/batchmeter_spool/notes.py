"""Notes on batches of vendors that keep no metadata: written before the create, and joined with its answer, or later.

<spool>/accounts/<account>/notes/open/<key>.json         a create under way, or one whose answer was lost
<spool>/accounts/<account>/notes/batches/<batch>.json    the note of a batch that is known
"""

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote

from .disk import disk_errors, place, put
from .spool import PRUNE_SECONDS, Spool

KEPT_SECONDS = 90 * 86_400.0
"""Longer than any vendor keeps a batch's answers."""
WAITING_SECONDS = 2 * 86_400.0
"""A create whose batch nobody has found in this time made none."""
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class BatchNote:
    """Facts of a batch that its creator knows and the vendor does not."""

    input_file_id: str
    endpoint: str
    requests: int
    ids_digest: str
    """Of its requests' ids as the vendor has them, in any order (`IdsDigest`)."""
    at: float
    """Epoch seconds before the create."""
    model: str | None = None
    metadata: dict[str, str] | None = None


class IdsDigest:
    """The sum of the ids' hashes: the same whatever order they come in."""

    def __init__(self) -> None:
        self._sum = 0
        self.count = 0

    def add(self, custom_id: str) -> None:
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(custom_id.encode()).digest())) % (1 << 256)
        self.count += 1

    @property
    def text(self) -> str:
        return f"{self._sum:064x}"


@dataclass(slots=True)
class Notes:
    """One account's."""

    spool: Spool
    _known: OrderedDict[str, BatchNote] = field(default_factory=OrderedDict[str, BatchNote])
    _pruned: float = 0.0

    async def open(self, note: BatchNote) -> str:
        """Durable before the create; its key."""
        key = f"{int(note.at)}-{token_hex(8)}"
        await asyncio.to_thread(self._put, self._open_path(key), note)
        return key

    async def close(self, key: str, batch_id: str | None) -> None:
        """The create made this batch; None: it made nothing."""
        await asyncio.to_thread(self._close, key, batch_id)

    async def of(self, batch_ids: Iterable[str]) -> Mapping[str, BatchNote]:
        """The notes that there are of these batches."""
        return await asyncio.to_thread(self._of, list(batch_ids))

    async def waiting(self) -> Mapping[str, BatchNote]:
        """Key -> note of creates whose batch is not known."""
        return await asyncio.to_thread(self._waiting)

    async def forget(self, batch_id: str) -> None:
        self._known.pop(batch_id, None)
        await asyncio.to_thread(lambda: self._batch_path(batch_id).unlink(missing_ok=True))

    @property
    def _folder(self) -> Path:
        return self.spool.account / "notes"

    def _open_path(self, key: str) -> Path:
        return self._folder / "open" / f"{key}.json"

    def _batch_path(self, batch_id: str) -> Path:
        return self._folder / "batches" / f"{quote(batch_id, safe='')}.json"

    def _put(self, path: Path, note: BatchNote) -> None:
        with disk_errors(self.spool.root):
            self._prune()
            put(path, json.dumps(asdict(note)).encode())

    def _close(self, key: str, batch_id: str | None) -> None:
        with suppress(FileNotFoundError), disk_errors(self.spool.root):  # another worker closed it
            if batch_id is None:
                self._open_path(key).unlink()
            else:
                place(self._open_path(key), self._batch_path(batch_id))

    def _of(self, batch_ids: list[str]) -> Mapping[str, BatchNote]:
        found: dict[str, BatchNote] = {}
        for batch_id in batch_ids:
            note = self._known.get(batch_id) or _read(self._batch_path(batch_id))
            if note is not None:
                found[batch_id] = self._known[batch_id] = note
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _waiting(self) -> Mapping[str, BatchNote]:
        oldest = time.time() - WAITING_SECONDS
        notes = {path.stem: _read(path) for path in sorted((self._folder / "open").glob("[0-9]*.json"))}
        return {key: note for key, note in notes.items() if note is not None and note.at > oldest}

    def _prune(self) -> None:
        if self._pruned and time.monotonic() - self._pruned < PRUNE_SECONDS:
            return
        self._pruned = time.monotonic()
        for folder, seconds in (("open", WAITING_SECONDS), ("batches", KEPT_SECONDS)):
            for path in (self._folder / folder).glob("*.json"):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < time.time() - seconds:
                        path.unlink()


def _read(path: Path) -> BatchNote | None:
    try:
        return BatchNote(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
