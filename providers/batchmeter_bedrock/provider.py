"""The provider: one account's files and batches at Amazon Bedrock, in OpenAI's shapes."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Any, ClassVar

from batchmeter.errors import (
    APIStatusError,
    BadRequestError,
    ConflictError,
    ProviderError,
    UsageError,
)
from batchmeter.http import Headers, HttpClient
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
from .failure import QUOTA, THROTTLED
from .files import Files
from .jobs import Jobs, job_body
from .names import Blob, View, model_id, parse_file_id
from .outputs import Outputs
from .rows import limits_by
from .settings import BedrockSettings
from .signing import Signer
from .states import batch_of, counts_of, endpoint_of, folder_for, input_uri
from .storage import Storage

_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 600.0
"""Seconds: a job leaves the queue when it ends, which takes minutes at least."""


class BedrockProvider:
    """Claude, Nova, Llama, Titan and other batches."""

    name: ClassVar[str] = "bedrock"
    Settings: ClassVar[type[AccountSettings]] = BedrockSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        list_after_any_id=False, metadata_tag=True, max_metadata_pairs=16, native_lines=True
    )

    def __init__(self, account: str, settings: BedrockSettings, *, http: Mapping[str, Any] | None = None) -> None:
        """`http`: more arguments for the HttpClients (`sleep` in tests)."""
        self.account = account
        self.settings = settings
        self.input_limits = limits_by(settings) if settings.format == "openai" else None
        self.region: str | None = settings.place
        self.endpoint = settings.host
        signer, given = Signer(settings), http or {}
        key = settings.api_key
        signs_jobs = {"sign": signer.for_jobs()} if key is None else {"auth": self._bearer}
        self._jobs = Jobs(self._client(settings.host, {**signs_jobs, **given}))
        storage = self._client(settings.storage_host, {"sign": signer.for_storage(), **given})
        self._storage = Storage(storage, settings.bucket_owner)
        self._files = Files(settings, self._storage)
        self._outputs = Outputs(self._storage)

    def __repr__(self) -> str:
        return f"BedrockProvider({self.account!r}, {self.endpoint})"

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
        if isinstance(found, View):
            return await self._outputs.delete(found, await self._jobs.get(found.job, options))
        deleted = await self._files.delete(found, options)
        return deleted.model_copy(update={"id": file_id})

    def file_content(self, file_id: str, options: CallOptions) -> AbstractAsyncContextManager[ContentStream]:
        found = parse_file_id(file_id)
        return self._view(found, options) if isinstance(found, View) else self._storage.read(found, options)

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        """A second create with the same `batchmeter_id` makes no second job: it is Bedrock's clientRequestToken."""
        if not request.input_file_id:
            raise UsageError("bedrock: a batch needs an input_file_id (or an s3:// URI)")
        found = parse_file_id(request.input_file_id)
        if isinstance(found, View):
            raise UsageError(f"{request.input_file_id} holds answers; a batch reads a file that was uploaded")
        source, noted, invocation = await self._files.input_of(found)
        extra = dict(options.extra_body)
        named = str(extra.pop("modelId", None) or extra.pop("model", None) or request.model or "")
        model = noted or model_id(named)
        if not model:
            raise UsageError(f"bedrock: {source.uri} names no model; pass model=, as jobs name theirs")
        if request.endpoint and noted and (own := self._endpoint(model)) != request.endpoint:
            raise UsageError(f"the file's lines are for {own}, the batch asks for {request.endpoint}")
        target = self._files.blob("outputs", unique_folder(), *filter(None, [folder_for(request.metadata or {})]))
        body = job_body(request, self.settings, model, source, target, invocation) | extra
        job = await self._jobs.create(body, options)
        return await self._made(job, body, request)

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        job = await self._jobs.get(batch_id, options)
        batch = self._batch(job)
        if not batch.ended or batch.status == "expired" or counts_of(job) is not None:
            return batch
        with suppress(ProviderError):  # what the bucket does not say now, it may say at the next look
            return self._batch(job, counts=await self._outputs.counts(job))
        return batch

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        try:
            await self._jobs.stop(batch_id, options)
        except (BadRequestError, ConflictError):
            batch = await self.retrieve_batch(batch_id, options)
            if batch.ended or batch.status == "cancelling":
                return batch
            raise
        return await self.retrieve_batch(batch_id, options)

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        jobs, more = await self._jobs.after(after, limit, options)
        return page_of([self._batch(job) for job in jobs], more=more)

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        """Bedrock's own rows, every object of them, and the manifest's sums."""
        return await self._outputs.files(await self._jobs.get(batch.id))

    def price_model(self, model: str) -> str:
        """The model behind a name of the account's own."""
        return self.settings.models.get(model, model)

    @property
    def queue_patience(self) -> float:
        return self.settings.retry_queue_full

    def queue_pause(self, refusal: Batch | APIStatusError, attempt: int) -> float | None:
        """A quota of running jobs, or too many calls, refused the create."""
        if isinstance(refusal, Batch) or refusal.code not in (QUOTA, THROTTLED):
            return None
        return refusal.retry_after or min(_FIRST_PAUSE * 2.0 ** min(attempt, 10), _LONGEST_PAUSE)

    async def aclose(self) -> None:
        await self._jobs.aclose()
        await self._storage.aclose()

    @asynccontextmanager
    async def _view(self, view: View, options: CallOptions) -> AsyncGenerator[ContentStream]:
        job = await self._jobs.get(view.job, options)
        files = await self._outputs.files(job)
        if not any(file.kind == "output" for file in files):
            raise no_such("file", view.id)
        async with aclosing(self._outputs.rows(files)) as rows:
            if self.settings.format == "native":
                yield ContentStream(rows, "application/jsonl")
                return
            model = str(job.get("modelId") or "")
            async with self._files.kept_ids(Blob.of_uri(input_uri(job) or "")) as kept:
                answers = Answers(view.kind, model, self._endpoint(model), kept)
                async with aclosing(answers.translated(rows)) as lines:
                    yield ContentStream(lines, "application/jsonl")

    async def _made(self, job: str, body: Json, request: BatchRequest) -> Batch:
        """The job as it is shown; where it cannot be looked at just now, as it was asked for."""
        try:
            batch = await self.retrieve_batch(job, CallOptions())
        except ProviderError:
            batch = self._batch({**body, "jobArn": f"/{job}"})
        return batch.model_copy(update={"metadata": dict(request.metadata) if request.metadata else batch.metadata})

    def _endpoint(self, model: str) -> str:
        return endpoint_of(self.price_model(model))

    def _batch(self, job: Json, **more: Any) -> Batch:
        uri = input_uri(job)
        source = None if uri is None else self._files.file_of(uri)
        return batch_of(job, input_file_id=source, native=self.settings.format == "native", **more)

    async def _bearer(self) -> Headers:
        key = self.settings.api_key
        return {"authorization": f"Bearer {key.get_secret_value()}"} if key is not None else {}

    def _client(self, base: str, more: Mapping[str, Any]) -> HttpClient:
        settings = self.settings
        return HttpClient(
            base, headers=settings.headers, timeout=settings.timeout, max_retries=settings.max_retries, **more
        )
