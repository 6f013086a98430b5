"""The provider: the vendor's files and jobs as OpenAI's files and batches."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

from batchmeter.errors import UsageError
from batchmeter.http import status_error
from batchmeter.models import Batch, FileDeleted, FileObject, Page
from batchmeter.providers import (
    AccountSettings,
    BatchRequest,
    CallOptions,
    Capabilities,
    ContentStream,
    FileUpload,
    OutputFile,
)

from .vendor import EchoService, Job, UnknownError

CHUNK = 64 * 1024
STATUS = {"RUNNING": "validating", "STARTED": "in_progress", "DONE": "completed", "STOPPED": "cancelled"}
ENDED_AT = {"DONE": "completed_at", "STOPPED": "cancelled_at"}

Item = TypeVar("Item", Batch, FileObject)


class EchoSettings(AccountSettings):
    """`[accounts.echo]` in batchmeter.toml."""

    folder: str = "echo"
    """Where the service keeps its files; relative to the working directory."""


class EchoProvider:
    """One account. It holds connections, never state: what a restart would lose belongs to the vendor."""

    name: ClassVar[str] = "echo"
    Settings: ClassVar[type[AccountSettings]] = EchoSettings
    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, account: str, settings: EchoSettings) -> None:
        self.account = account
        self.region = settings.region
        self.endpoint = f"echo:{settings.folder}"
        self._service = EchoService(Path(settings.folder))

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        return self._file(await self._service.save(upload.open()), upload.filename)

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject:
        return self._file(file_id)

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]:
        names = self._service.files()
        return _page([self._file(name) for name in (names[::-1] if order == "asc" else names)], after, limit)

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted:
        with self._found():
            self._service.path(file_id).unlink()
        return FileDeleted(id=file_id)

    @asynccontextmanager
    async def file_content(self, file_id: str, options: CallOptions) -> AsyncGenerator[ContentStream]:
        with self._found():
            path = self._service.path(file_id)
        yield ContentStream(_chunks(path), "application/jsonl", path.stat().st_size)

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        if request.input_file_id is None:
            raise UsageError("an echo batch needs an input_file_id")
        with self._found():
            return _batch(self._service.submit(request.input_file_id, dict(request.metadata or {})))

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        with self._found():
            return _batch(await asyncio.to_thread(self._service.look, batch_id))

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        with self._found():
            return _batch(self._service.stop(batch_id))

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        return _page([_batch(job) for job in self._service.jobs()], after, limit)

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        output = batch.output_file_id
        if output is None:
            return []
        return [OutputFile(output, "output", lambda: self.file_content(output, CallOptions()))]

    def price_model(self, model: str) -> str:
        return model

    async def aclose(self) -> None:
        """There is no connection to close."""

    def _file(self, file_id: str, filename: str | None = None) -> FileObject:
        with self._found():
            found = self._service.path(file_id).stat()
        name = filename or f"{file_id}.jsonl"
        return FileObject(
            id=file_id, bytes=found.st_size, created_at=int(found.st_mtime), filename=name, purpose="batch"
        )

    @contextmanager
    def _found(self) -> Generator[None]:
        """The vendor's errors as batchmeter's, with the status and body that a client would have seen."""
        try:
            yield
        except UnknownError as error:
            body = json.dumps({"error": {"message": f"There is no {error}.", "code": "not_found"}}).encode()
            raise status_error(404, {}, body, where=self.endpoint) from error


def _batch(job: Job) -> Batch:
    ended = {} if job.finished is None else {ENDED_AT[job.state]: int(job.finished)}
    return Batch.model_validate(
        {
            "id": job.id,
            "status": STATUS[job.state],
            "endpoint": "/v1/chat/completions",
            "input_file_id": job.source,
            "output_file_id": job.result,
            "created_at": int(job.submitted),
            "request_counts": {"total": job.lines, "completed": job.lines, "failed": 0},
            "metadata": job.labels,
            **ended,
        }
    )


def _page(items: list[Item], after: str | None, limit: int | None) -> Page[Item]:
    ids = [item.id for item in items]
    start = ids.index(after) + 1 if after in ids else 0
    shown = items[start : start + (limit or 20)]
    return Page(
        data=shown,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
        has_more=start + len(shown) < len(items),
    )


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
