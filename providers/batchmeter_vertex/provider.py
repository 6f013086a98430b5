"""The provider: one account's files and batches at Vertex AI, in OpenAI's shapes."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import ClassVar

from batchmeter.errors import NotSupportedError, UsageError
from batchmeter.http import HttpClient
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
from batchmeter_translate.buckets import unique_folder
from batchmeter_translate.listing import no_such, page_of
from batchmeter_translate.shape import Json

from .answers import Answers
from .auth import Tokens
from .files import Files
from .jobs import Jobs, job_body
from .names import View, model_name, parse_file_id
from .outputs import Outputs
from .rows import LIMITS
from .settings import VertexSettings
from .states import batch_from_job, endpoint_of, input_uri
from .storage import Storage


class VertexProvider:
    """Gemini, Claude and embedding batches."""

    name: ClassVar[str] = "vertex_ai"
    Settings: ClassVar[type[AccountSettings]] = VertexSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        list_after_any_id=False, metadata_tag=True, max_metadata_pairs=16, native_lines=True
    )

    def __init__(self, account: str, settings: VertexSettings) -> None:
        self.account = account
        self.settings = settings
        self.input_limits = LIMITS if settings.format == "openai" else None
        self.region: str | None = settings.region or settings.location
        self.endpoint = settings.host
        self._tokens = Tokens(settings)
        self._api = self._http(settings.host, authorised=True)
        self._storage = Storage(self._http(settings.storage_host, authorised=settings.emulator is None))
        self._files = Files(settings, self._storage)
        self._jobs = Jobs(settings, self._tokens, self._api)
        self._outputs = Outputs(self._storage)

    def __repr__(self) -> str:
        return f"VertexProvider({self.account!r}, {self.endpoint})"

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        """InvalidInputError when a request cannot be translated; the file then exists nowhere."""
        return await self._files.create(upload, options)

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject:
        found = parse_file_id(file_id)
        if not isinstance(found, View):
            return await self._files.retrieve(found, options)
        return await self._outputs.describe(found, await self._jobs.get(found.job, options))

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]:
        """Uploads only: answers are found through their batches."""
        del options
        return await self._files.page(purpose=purpose, after=after, limit=limit, order=order)

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted:
        found = parse_file_id(file_id)
        if not isinstance(found, View):
            deleted = await self._files.delete(found, options)
            return deleted.model_copy(update={"id": file_id})
        return await self._outputs.delete(found, await self._jobs.get(found.job, options))

    def file_content(self, file_id: str, options: CallOptions) -> AbstractAsyncContextManager[ContentStream]:
        found = parse_file_id(file_id)
        return self._view(found, options) if isinstance(found, View) else self._storage.read(found, options)

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        if not request.input_file_id:
            raise UsageError("vertex_ai: a batch needs an input_file_id (or a gs:// URI)")
        if "bigquery" in str(options.extra_body).lower():
            raise NotSupportedError("vertex_ai: batchmeter does not read or write BigQuery; use Cloud Storage")
        found = parse_file_id(request.input_file_id)
        if isinstance(found, View):
            raise UsageError(f"{request.input_file_id} holds answers; a batch reads a file that was uploaded")
        source, model, endpoint = await self._files.input_of(found)
        if endpoint and endpoint != request.endpoint:
            raise UsageError(f"the file's lines are for {endpoint}, the batch asks for {request.endpoint}")
        named = str(options.extra_body.get("model") or request.model or model or "")
        if not named:
            raise UsageError(f"vertex_ai: {source.uri} names no model; pass model=, as jobs name theirs")
        body = job_body(request, named, source, self._files.blob("outputs", unique_folder()), request.endpoint)
        batch = self._batch(await self._jobs.create(body, options))
        return batch.model_copy(update={"metadata": dict(request.metadata) if request.metadata else batch.metadata})

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return self._batch(await self._jobs.get(batch_id, options))

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        await self._jobs.cancel(batch_id, options)
        return await self.retrieve_batch(batch_id, options)

    async def delete_batch(self, batch_id: str, options: CallOptions) -> None:
        """Forgets an ended job; what it read and wrote stays in the bucket."""
        await self._jobs.delete(batch_id, options)

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        jobs, more = await self._jobs.after(after, limit, options)
        return page_of([self._batch(job) for job in jobs], more=more)

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        """Vertex AI's own rows, every object of them."""
        return await self._outputs.files(await self._jobs.get(batch.id))

    def price_model(self, model: str) -> str:
        return model

    async def aclose(self) -> None:
        await self._api.aclose()
        await self._storage.http.aclose()

    @asynccontextmanager
    async def _view(self, view: View, options: CallOptions) -> AsyncGenerator[ContentStream]:
        job = await self._jobs.get(view.job, options)
        files = await self._outputs.files(job)
        if not files:
            raise no_such("file", view.id)
        async with aclosing(self._outputs.rows(files)) as rows:
            if self.settings.format == "native":
                yield ContentStream(rows, "application/jsonl")
                return
            answers = Answers(view.kind, model_name(str(job.get("model") or "")), endpoint_of(job))
            async with aclosing(answers.translated(rows)) as lines:
                yield ContentStream(lines, "application/jsonl")

    def _batch(self, job: Json) -> Batch:
        uri = input_uri(job)
        source = self._files.file_of(uri) if uri and uri.startswith("gs://") else uri
        return batch_from_job(job, input_file_id=source, native=self.settings.format == "native")

    def _http(self, base: str, *, authorised: bool) -> HttpClient:
        return HttpClient(
            base,
            headers=self.settings.headers,
            auth=self._tokens.headers if authorised else None,
            timeout=self.settings.timeout,
            max_retries=self.settings.max_retries,
        )
