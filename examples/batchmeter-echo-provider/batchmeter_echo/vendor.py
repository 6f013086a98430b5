"""The vendor: a service with files and jobs in its own words, here a folder. Yours is on the other end of HTTP."""

import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class UnknownError(Exception):
    """Nothing has this id."""


@dataclass
class Job:
    """Vendors have their own field names and states; translating them is the provider's work."""

    id: str
    source: str
    state: str = "RUNNING"
    result: str | None = None
    submitted: float = field(default_factory=time.time)
    finished: float | None = None
    lines: int = 0
    labels: dict[str, str] = field(default_factory=dict[str, str])


class EchoService:
    """A job is done at the first look that comes after the one that saw it running."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def save(self, chunks: AsyncIterator[bytes]) -> str:
        """The new file's id; nothing is kept of an upload that breaks off."""
        name = _new_id("file")
        part = self._folder / f"{name}.part"
        try:
            with part.open("wb") as file:
                async for chunk in chunks:
                    file.write(chunk)
        except BaseException:
            part.unlink()
            raise
        part.rename(self.path(name, exists=False))
        return name

    def path(self, file_id: str, *, exists: bool = True) -> Path:
        path = self._folder / f"{Path(file_id).name}.jsonl"
        if exists and not path.exists():
            raise UnknownError(file_id)
        return path

    def files(self) -> list[str]:
        return sorted((path.stem for path in self._folder.glob("*.jsonl")), reverse=True)

    def submit(self, source: str, labels: dict[str, str]) -> Job:
        self.path(source)
        return self._write(Job(_new_id("job"), source, labels=labels))

    def look(self, job_id: str) -> Job:
        job = self._read(job_id)
        if job.state == "STARTED":
            self._finish(job)
        elif job.state == "RUNNING":
            job.state = "STARTED"
        return self._write(job)

    def stop(self, job_id: str) -> Job:
        job = self._read(job_id)
        if job.finished is None:
            job.state, job.finished = "STOPPED", time.time()
        return self._write(job)

    def jobs(self) -> list[Job]:
        """Newest first."""
        return [self._read(path.stem) for path in sorted(self._folder.glob("*.json"), reverse=True)]

    def _finish(self, job: Job) -> None:
        answers = [_answer(line) for line in self.path(job.source).read_bytes().split(b"\n") if line.strip()]
        job.result = _new_id("file")
        self.path(job.result, exists=False).write_bytes(b"".join(answers))
        job.state, job.finished, job.lines = "DONE", time.time(), len(answers)

    def _read(self, job_id: str) -> Job:
        path = self._folder / f"{Path(job_id).name}.json"
        if not path.exists():
            raise UnknownError(job_id)
        return Job(**json.loads(path.read_text()))

    def _write(self, job: Job) -> Job:
        (self._folder / f"{job.id}.json").write_text(json.dumps(asdict(job)))
        return job


def _new_id(kind: str) -> str:
    """Sortable by the time it was made."""
    return f"{kind}-{time.time_ns():020d}-{secrets.token_hex(4)}"


def _answer(line: bytes) -> bytes:
    request: dict[str, Any] = json.loads(line)
    messages: list[dict[str, Any]] = request["body"]["messages"]
    said = str(messages[-1]["content"])
    body = {
        "id": _new_id("chatcmpl"),
        "object": "chat.completion",
        "model": request["body"]["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": len(said.split()), "completion_tokens": len(said.split())},
    }
    row = {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}
    return json.dumps(row).encode() + b"\n"
