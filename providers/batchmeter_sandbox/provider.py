"""The sandbox as a provider in this process: no server, no network, the same engine."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import ClassVar

from batchmeter.errors import APIConnectionError
from batchmeter.http import status_error
from batchmeter.inputs import OPENAI
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

from .engine import Engine
from .files import Content
from .refusal import Dropped, Refusal
from .script import FAULT_HEADER, SCRIPT_HEADER
from .settings import SandboxSettings


class SandboxProvider:
    """One account at a sandbox of its own; `engine` is there for tests."""

    name: ClassVar[str] = "sandbox"
    """The price book has OpenAI's prices for it, whose models it answers as."""
    invented: ClassVar[bool] = True
    Settings: ClassVar[type[AccountSettings]] = SandboxSettings
    capabilities: ClassVar[Capabilities] = Capabilities(priced_as="openai")  # it answers as OpenAI's models
    region: str | None = None

    def __init__(self, account: str, settings: SandboxSettings, *, engine: Engine | None = None) -> None:
        """`engine`: one that is shared; closing it stays its owner's business."""
        self.account = account
        self.region = settings.region
        self.input_limits = replace(OPENAI, one_model=not settings.mixed_models)
        self.endpoint = f"sandbox://{settings.folder or 'in-process'}"
        self._owned = engine is None
        self.engine = engine or Engine(
            folder=settings.folder,
            seed=settings.seed,
            speed=settings.speed,
            script=settings.script,
            faults=settings.faults,
            max_bytes=settings.max_bytes,
            mixed_models=settings.mixed_models,
        )

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        async with self._request("POST", "/v1/files", options):
            receiver = self.engine.files.receive(upload.filename)
            try:
                async for chunk in upload.open():
                    receiver.write(chunk)
                made = receiver.finish(upload.purpose, upload.expires_after)
            except BaseException:
                receiver.abandon()
                raise
            return FileObject.model_validate(made)

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject:
        async with self._request("GET", f"/v1/files/{file_id}", options):
            return FileObject.model_validate(await self.engine.files.retrieve(file_id))

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]:
        async with self._request("GET", "/v1/files", options):
            return Page[FileObject].model_validate(await self.engine.files.list(purpose, after, limit, order))

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted:
        async with self._request("DELETE", f"/v1/files/{file_id}", options):
            return FileDeleted.model_validate(await self.engine.files.delete(file_id))

    def file_content(self, file_id: str, options: CallOptions) -> AbstractAsyncContextManager[ContentStream]:
        return self._content(file_id, options)

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        body = {
            "input_file_id": request.input_file_id,
            "endpoint": request.endpoint,
            "completion_window": request.completion_window,
            "metadata": request.metadata,
            "output_expires_after": request.output_expires_after,
            **options.extra_body,
        }
        async with self._request("POST", "/v1/batches", options):
            script = _header(options, SCRIPT_HEADER)
            return Batch.model_validate(await self.engine.batches.create(body, script))

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        async with self._request("GET", f"/v1/batches/{batch_id}", options):
            return Batch.model_validate(await self.engine.batches.retrieve(batch_id))

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        async with self._request("POST", f"/v1/batches/{batch_id}/cancel", options):
            return Batch.model_validate(await self.engine.batches.cancel(batch_id))

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        async with self._request("GET", "/v1/batches", options):
            return Page[Batch].model_validate(await self.engine.batches.list(after, limit))

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        files: list[OutputFile] = []
        if batch.output_file_id:
            output = batch.output_file_id
            files.append(OutputFile(output, "output", lambda: self._content(output, CallOptions())))
        if batch.error_file_id:
            error = batch.error_file_id
            files.append(OutputFile(error, "error", lambda: self._content(error, CallOptions())))
        return files

    def price_model(self, model: str) -> str:
        return model

    async def aclose(self) -> None:
        if self._owned:
            self.engine.close()

    @asynccontextmanager
    async def _content(self, file_id: str, options: CallOptions) -> AsyncGenerator[ContentStream]:
        async with self._request("GET", f"/v1/files/{file_id}/content", options):
            content = await self.engine.files.content(file_id)
        yield ContentStream(self._chunks(content), size=content.size)

    async def _chunks(self, content: Content) -> AsyncIterator[bytes]:
        try:
            async for chunk in content.chunks():
                yield chunk
        except Dropped as dropped:
            raise self._broken() from dropped

    @asynccontextmanager
    async def _request(self, method: str, path: str, options: CallOptions) -> AsyncGenerator[None]:
        """Stand in for the network: faults on the way, refusals as the errors of their status."""
        try:
            with self.engine.faults.during(method, path, _header(options, FAULT_HEADER)):
                yield
        except Refusal as refusal:
            content = json.dumps(refusal.body).encode()
            raise status_error(refusal.status, refusal.headers, content, where=self.endpoint) from refusal
        except Dropped as dropped:
            raise self._broken() from dropped

    def _broken(self) -> APIConnectionError:
        return APIConnectionError(f"{self.endpoint}: the connection broke, as its script says")


def _header(options: CallOptions, name: str) -> str | None:
    headers: Mapping[str, str] = {key.lower(): value for key, value in options.extra_headers.items()}
    return headers.get(name)
