"""The journal's records: files and batches as they were made, cancelled and deleted."""

import hashlib
import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from .folder import Folder
from .lifecycle import Job
from .results import KINDS, Kind
from .script import Script


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a user sent."""

    id: str
    bytes: int
    created_at: float
    filename: str
    purpose: str
    expires_at: float | None = None


@dataclass(slots=True)
class Records:
    """The journal, read up to now. Every change is written first and then read back."""

    folder: Folder
    seed: int | None = None
    uploads: dict[str, Upload] = field(default_factory=dict[str, Upload], init=False)
    jobs: dict[str, Job] = field(default_factory=dict[str, Job], init=False)
    order: list[str] = field(default_factory=list[str], init=False)
    """Batch ids, oldest first."""
    place: dict[str, int] = field(default_factory=dict[str, int], init=False)
    """Batch id -> index in `order`."""
    results: dict[str, tuple[str, Kind]] = field(default_factory=dict[str, tuple[str, Kind]], init=False)
    """File id -> the batch that wrote (or will write) it."""
    deleted: set[str] = field(default_factory=set[str], init=False)
    _made: int = field(default=0, init=False)

    def add_upload(self, upload: Upload) -> None:
        self._record("upload", {name: getattr(upload, name) for name in Upload.__slots__})

    def add_job(self, job: Job) -> None:
        values = {name: getattr(job, name) for name in Job.__slots__ if name not in ("script", "cancelled_at")}
        script = job.script.model_dump(mode="json", exclude_unset=True)
        self._record("job", values | {"script": script})

    def cancel(self, job_id: str, at: float) -> None:
        self._record("cancel", {"id": job_id, "at": at})

    def delete(self, file_id: str) -> None:
        self._record("delete", {"id": file_id})
        if file_id not in {job.input_file_id for job in self.jobs.values()}:  # a batch reads its input to its end
            self.folder.content(file_id).unlink(missing_ok=True)

    def new_id(self, prefix: str) -> str:
        """Follows from the seed, where there is one; unguessable otherwise, so that two sandboxes never share ids."""
        self._made += 1
        return prefix + (secrets.token_hex(16) if self.seed is None else _digest(f"{self.seed}:{self._made}"))

    def refresh(self) -> None:
        """Takes in what this and other processes wrote."""
        for record in self.folder.news():
            getattr(self, f"_on_{record.pop('op')}")(**record)

    def _record(self, op: str, values: dict[str, Any]) -> None:
        self.folder.append({"op": op, **values})
        self.refresh()

    def _on_upload(self, **values: Any) -> None:
        upload = Upload(**values)
        self.uploads[upload.id] = upload
        self._made = max(self._made, len(self.uploads) + len(self.order))

    def _on_job(self, script: dict[str, Any], **values: Any) -> None:
        job = Job(script=Script.model_validate(script), **values)
        self.place[job.id] = len(self.order)
        self.order.append(job.id)
        self.jobs[job.id] = job
        for kind in KINDS:
            self.results[result_id(job.id, kind)] = (job.id, kind)
        self._made = max(self._made, len(self.uploads) + len(self.order))

    def _on_cancel(self, id: str, at: float) -> None:  # noqa: A002 - the record's own word
        if self.jobs[id].cancelled_at is None:
            self.jobs[id] = replace(self.jobs[id], cancelled_at=at)

    def _on_delete(self, id: str) -> None:  # noqa: A002
        self.deleted.add(id)


def result_id(job_id: str, kind: Kind) -> str:
    """Known before the file exists, and again after a restart."""
    return "file-" + _digest(f"{job_id}:{kind}")[:24]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
