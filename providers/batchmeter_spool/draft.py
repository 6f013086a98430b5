"""A file that is being spooled: nothing of it is visible until it is finished, and nothing is left of one that is not."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from secrets import token_hex
from typing import Any

from batchmeter.providers import FileUpload

from .disk import disk_errors, flush, place, put, sync_folder
from .record import SpooledFile, new_id, to_json

CONTENT = "content"


@dataclass(slots=True)
class _Part:
    path: Path
    file: BufferedWriter
    bytes: int = 0


@dataclass(slots=True)
class Draft:
    """The content, and what a provider derives from it (`rows`, say), written side by side."""

    root: Path
    account: Path
    days: float
    _sha256: Any = field(default_factory=hashlib.sha256)
    _parts: dict[str, _Part] = field(default_factory=dict[str, _Part])

    async def write(self, data: bytes, part: str = CONTENT) -> None:
        if data or part not in self._parts:
            await asyncio.to_thread(self._write, data, part)

    def size(self, part: str) -> int:
        """Bytes written to a part so far."""
        found = self._parts.get(part)
        return 0 if found is None else found.bytes

    async def finish(self, upload: FileUpload, notes: Mapping[str, str]) -> SpooledFile:
        return await asyncio.to_thread(self._finish, upload, notes)

    async def abort(self) -> None:
        """Removes what was written; after `finish` there is nothing to remove."""
        await asyncio.to_thread(self._abort)

    def _write(self, data: bytes, name: str) -> None:
        with disk_errors(self.root):
            part = self._parts.get(name) or self._open(name)
            part.file.write(data)
            part.bytes += len(data)
        if name == CONTENT:
            self._sha256.update(data)

    def _open(self, name: str) -> _Part:
        folder = self.root / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{int(time.time())}-{token_hex(8)}"
        part = self._parts[name] = _Part(path, path.open("xb"))
        return part

    def _finish(self, upload: FileUpload, notes: Mapping[str, str]) -> SpooledFile:
        """The record's draft stands before the content is moved: whoever deletes the same content then keeps it."""
        with disk_errors(self.root):
            if CONTENT not in self._parts:
                self._open(CONTENT)
            for part in self._parts.values():
                part.file.flush()
                flush(part.file.fileno())
                part.file.close()
            record = self._record(upload, notes)
            waiting = self.account / "files" / f"{record.id}.new"
            put(waiting, to_json(record))
            for name, part in self._parts.items():
                place(
                    part.path, content_path(self.root, record.sha256) if name == CONTENT else self._place(record, name)
                )
            waiting.replace(waiting.with_suffix(".json"))
            sync_folder(waiting.parent)
        self._parts.clear()
        return record

    def _place(self, record: SpooledFile, name: str) -> Path:
        return self.account / "parts" / f"{record.id}.{name}"

    def _record(self, upload: FileUpload, notes: Mapping[str, str]) -> SpooledFile:
        sha256, now = self._sha256.hexdigest(), time.time()
        seconds = int((upload.expires_after or {}).get("seconds") or self.days * 86_400)
        return SpooledFile(
            id=new_id(sha256, int(now * 1000)),
            sha256=sha256,
            bytes=self._parts[CONTENT].bytes,
            filename=upload.filename,
            purpose=upload.purpose,
            created_at=int(now),
            expires_at=int(now) + seconds,
            notes=dict(notes),
        )

    def _abort(self) -> None:
        for part in self._parts.values():
            part.file.close()
            part.path.unlink(missing_ok=True)
        self._parts.clear()


def content_path(root: Path, sha256: str) -> Path:
    """Where this content lies, however many files have it."""
    return root / "content" / sha256[:2] / sha256
