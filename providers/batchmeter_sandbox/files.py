"""Files: received, described, listed, sent and deleted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from . import checks, wire
from .batches import Batches
from .records import Records, Upload
from .refusal import Dropped, Refusal, full, invalid, no_file

MONTH = 30 * 86_400
"""Batch files are kept for 30 days unless their creator says otherwise."""
CHUNK = 64 * 1024
_MAX_FILE = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """A file to send."""

    path: Path
    size: int
    slow: float = 0.0
    """Seconds to wait before each chunk."""
    truncated: bool = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes; Dropped halfway where its script says so."""
        left = self.size // 2 if self.truncated else self.size
        with self.path.open("rb") as file:
            while chunk := file.read(min(CHUNK, left)):
                if self.slow:
                    await asyncio.sleep(self.slow)
                left -= len(chunk)
                yield chunk
        if self.truncated:
            raise Dropped


@dataclass(slots=True)
class Receiver:
    """An upload on its way: write its chunks, then finish or abandon it."""

    records: Records
    filename: str
    created_at: float
    _id: str = ""
    _size: int = 0
    _room: float = field(init=False)
    _file: BinaryIO = field(init=False)

    def __post_init__(self) -> None:
        self._id = self.records.new_id("file-")
        self._room = self.records.folder.room()
        self._file = self.records.folder.content(self._id).open("wb")

    def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > _MAX_FILE:
            raise Refusal(413, "The file is larger than 512 MB.", param="file", code="file_too_large")
        if self._size > self._room:
            raise full()
        self._file.write(chunk)

    def abandon(self) -> None:
        self._file.close()
        self.records.folder.content(self._id).unlink(missing_ok=True)

    def finish(self, purpose: str | None, expires_after: object = None) -> wire.Json:
        """The form's other fields are known only now: they may follow the file."""
        self._file.close()
        purpose = checks.purpose(purpose)
        lifetime = checks.expiry(expires_after, "expires_after") or (MONTH if purpose == "batch" else None)
        expires_at = None if lifetime is None else self.created_at + lifetime
        made = Upload(self._id, self._size, self.created_at, self.filename, purpose, expires_at)
        self.records.add_upload(made)
        return wire.upload(made)


@dataclass(slots=True)
class Files:
    """Every file of one sandbox: what users sent, and what batches wrote."""

    records: Records
    batches: Batches
    clock: Callable[[], float]
    _downloads: dict[str, int] = field(default_factory=dict[str, int], init=False)

    def receive(self, filename: str) -> Receiver:
        """Starts an upload."""
        return Receiver(self.records, filename, self.clock())

    async def retrieve(self, file_id: str) -> wire.Json:
        self.records.refresh()
        described = await self._describe(file_id)
        if described is None:
            raise no_file(file_id)
        return described

    async def list(
        self,
        purpose: str | None = None,
        after: str | None = None,
        limit: int | str | None = None,
        order: str | None = None,
    ) -> wire.Json:
        """Newest first unless `order` is `asc`."""
        if order not in (None, "asc", "desc"):
            raise invalid("order", f"Invalid value: '{order}'. Supported values are: 'asc' and 'desc'.")
        most = checks.limit(limit, 10_000, 10_000)
        self.records.refresh()
        every = [await self._describe(one) for one in (*self.records.uploads, *self.records.results)]
        found = [file for file in every if file is not None and purpose in (None, file["purpose"])]
        found.sort(key=lambda file: (file["created_at"], file["id"]), reverse=order != "asc")
        if after is not None:
            ids = [file["id"] for file in found]
            if after not in ids:
                raise no_file(after)
            found = found[ids.index(after) + 1 :]
        return wire.page(found[:most], has_more=len(found) > most)

    async def delete(self, file_id: str) -> wire.Json:
        await self.retrieve(file_id)
        self.records.delete(file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    async def content(self, file_id: str) -> Content:
        described = await self.retrieve(file_id)
        path = self.records.folder.content(file_id)
        if file_id not in self.records.results:
            return Content(path, described["bytes"])
        script = self.records.jobs[self.records.results[file_id][0]].script
        self._downloads[file_id] = self._downloads.get(file_id, 0) + 1
        return Content(path, described["bytes"], script.slow, self._downloads[file_id] <= script.truncate)

    async def _describe(self, file_id: str) -> wire.Json | None:
        """The file object; None where there is none, not yet or no more."""
        if file_id in self.records.deleted:
            return None
        upload = self.records.uploads.get(file_id)
        described = wire.upload(upload) if upload else await self._result(file_id)
        gone = described is None or (described["expires_at"] or self.clock() + 1) <= self.clock()
        return None if gone else described

    async def _result(self, file_id: str) -> wire.Json | None:
        if file_id not in self.records.results:
            return None
        job_id, kind = self.records.results[file_id]
        job = self.records.jobs[job_id]
        found = await self.batches.result(job, kind, self.records.folder.content)
        if found is None:
            return None
        expires_at = found.ended_at + (job.output_expires_after or MONTH)
        return wire.result(job, kind, found.size, found.ended_at, expires_at)
