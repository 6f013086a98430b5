"""The provider: one account's files and batches at Gemini's developer API, in OpenAI's shapes."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, ClassVar

from batchmeter.errors import APIStatusError, ConfigError, NotSupportedError, UsageError
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
from batchmeter_spool.record import is_id, no_such
from batchmeter_spool.spool import Spool
from batchmeter_translate.endpoints import EMBEDDINGS
from batchmeter_translate.lines import encode
from batchmeter_translate.listing import page_of
from batchmeter_translate.shape import Json, mapping, objects

from .answers import Answers
from .api import Api
from .files import Files
from .rows import LIMITS, model_name
from .settings import GeminiSettings
from .states import View, answers_file, batch_of, endpoint_of, inlined, model_of, name_for, parse_view

PLAIN = CallOptions()
_QUEUE_FULL = 429
_FIRST_PAUSE, _LONGEST_PAUSE = 15.0, 300.0
_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")
_INLINE_BYTES = 256 << 20
"""Answers that came in the operation itself: its requests were 20 MB at most."""
_BLOCK = 200
"""Rows of them that are written at once."""


class GeminiProvider:
    """Gemini and embedding batches."""

    name: ClassVar[str] = "gemini"
    Settings: ClassVar[type[AccountSettings]] = GeminiSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        list_after_any_id=False, metadata_tag=True, max_metadata_pairs=16, native_lines=True
    )

    def __init__(self, account: str, settings: GeminiSettings, *, http: Mapping[str, Any] | None = None) -> None:
        """`http`: more arguments for the HttpClient (`sleep` in tests)."""
        self.account = account
        self._settings = settings
        self._native = settings.format == "native"
        self.input_limits = None if self._native else LIMITS
        self.region = settings.region
        self.endpoint = settings.host
        self._http = HttpClient(
            settings.host,
            headers=settings.headers,
            auth=self._auth,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            max_answer=_INLINE_BYTES,
            **(http or {}),
        )
        self._api = Api(self._http, settings.api_version)
        self._files = Files(settings, Spool(account, settings), self._api)

    def __repr__(self) -> str:
        return f"GeminiProvider({self.account!r}, {self.endpoint})"

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        """InvalidInputError when a request cannot be translated; the file then exists nowhere."""
        del options
        return await self._files.create(upload)

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject:
        view = parse_view(file_id)
        if view is None:
            return await self._files.retrieve(file_id, options)
        batch = self._batch(await self._ended(view, options))
        return FileObject(
            id=view.id,
            bytes=0,
            created_at=batch.ended_at,
            filename=f"{view.batch}_{view.kind}.jsonl",
            purpose="batch_output",
            status="processed",
        )

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]:
        """Uploads through batchmeter only: answers are found through their batches."""
        del options
        return await self._files.spool.page(purpose=purpose, after=after, limit=limit, order=order)

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted:
        """Of an upload, here and at Google. Answers go with their batch."""
        if parse_view(file_id) is not None:
            raise NotSupportedError("gemini: answers are deleted with their batch")
        return await self._files.delete(file_id, options)

    def file_content(self, file_id: str, options: CallOptions) -> AbstractAsyncContextManager[ContentStream]:
        view = parse_view(file_id)
        if view is not None:
            return self._view(view, options)
        name = file_id.removeprefix("files/")
        if name.startswith("batch-"):
            return self._api.download(name, options)
        return self._files.spool.read(file_id)

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        if not request.input_file_id:
            raise UsageError("gemini: a batch needs an input_file_id")
        if request.output_expires_after:
            raise NotSupportedError("gemini: answers expire with their batch, and never else")
        model, endpoint = await self._input(request, options)
        if endpoint and endpoint != request.endpoint:
            raise UsageError(f"the file's lines are for {endpoint}, the batch asks for {request.endpoint}")
        model = model_name(str(options.extra_body.get("model") or request.model or model))
        if not model:
            raise UsageError(f"gemini: {request.input_file_id} names no model; pass model=, as jobs name theirs")
        embeds = request.endpoint == EMBEDDINGS
        method = "asyncBatchEmbedContent" if embeds else "batchGenerateContent"
        body = _body(request, options)
        operation = await self._api.create(model, method, body, options)
        batch = self._batch(_with_model(operation, model))
        known = {"metadata": dict(request.metadata) if request.metadata else batch.metadata}
        return batch.model_copy(update={**known, "input_file_id": request.input_file_id})

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return self._batch(await self._api.get(batch_id, options))

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        await self._api.cancel(batch_id, options)
        return await self.retrieve_batch(batch_id, options)

    async def delete_batch(self, batch_id: str, options: CallOptions) -> None:
        """Of an ended one, with its answers; the input file stays."""
        await self._api.delete(batch_id, options)

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        found, more = await self._api.after(after, limit, options)
        return page_of([self._batch(operation) for operation in found], more=more)

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        """Gemini's own rows, good and bad in one stream; a list does not show those that came inline."""
        if not batch.ended:
            return []
        operation = await self._api.get(batch.id, PLAIN)
        if answers_file(operation) is None and not inlined(operation):
            return []
        return [OutputFile(View("output", batch.id).id, "output", lambda: self._rows(operation, PLAIN))]

    def price_model(self, model: str) -> str:
        return model

    @property
    def queue_patience(self) -> float:
        return self._settings.retry_queue_full

    def queue_pause(self, refusal: Batch | APIStatusError, attempt: int) -> float | None:
        """A 429 at the create: too many tokens are enqueued, or a hundred batches run."""
        if isinstance(refusal, Batch) or refusal.status_code != _QUEUE_FULL:
            return None
        return (
            refusal.retry_after
            or _retry_info(refusal.body)
            or min(_FIRST_PAUSE * 2.0 ** min(attempt, 10), _LONGEST_PAUSE)
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    @asynccontextmanager
    async def _view(self, view: View, options: CallOptions) -> AsyncGenerator[ContentStream]:
        operation = await self._ended(view, options)
        async with self._rows(operation, options) as rows:
            if self._native:
                yield rows
                return
            created = self._batch(operation).created_at or 0
            answers = Answers(view.kind, model_of(operation), endpoint_of(operation), created)
            async with aclosing(answers.translated(rows.chunks)) as lines:
                yield ContentStream(lines, "application/jsonl")

    @asynccontextmanager
    async def _rows(self, operation: Json, options: CallOptions) -> AsyncGenerator[ContentStream]:
        name = answers_file(operation)
        if name is None:
            yield ContentStream(_written(inlined(operation)), "application/jsonl")
            return
        async with self._api.download(name, options) as content:
            yield content

    async def _ended(self, view: View, options: CallOptions) -> Json:
        """NotFoundError while there are no such answers, and where there will be none."""
        operation = await self._api.get(view.batch, options)
        batch = self._batch(operation)
        if view.id not in (batch.output_file_id, batch.error_file_id):
            raise no_such("file", view.id)
        return operation

    async def _input(self, request: BatchRequest, options: CallOptions) -> tuple[str, str]:
        """The model and the endpoint of its lines, as far as the file tells; its rows are then at Google."""
        assert request.input_file_id
        if parse_view(request.input_file_id) is not None:
            raise UsageError(f"{request.input_file_id} holds answers; a batch reads a file that was uploaded")
        if not is_id(request.input_file_id):
            return "", ""
        record = await self._files.spool.look(request.input_file_id)
        if record.purpose != "batch":
            raise UsageError(
                f"{record.id} was uploaded with purpose {record.purpose!r}; a batch reads one with purpose batch"
            )
        await self._files.there(record, options)
        return record.notes.get("model", ""), record.notes.get("endpoint", "")

    def _batch(self, operation: Json) -> Batch:
        return batch_of(operation, native=self._native)

    async def _auth(self) -> Mapping[str, str]:
        key = self._settings.api_key
        if key is None:
            raise ConfigError(
                f"account {self.account!r} has no API key: set GEMINI_API_KEY (for Google's own address), or "
                f"api_key_env, api_key_file or api_key under [accounts.{self.account}]"
            )
        return {"x-goog-api-key": key.get_secret_value()}


def _body(request: BatchRequest, options: CallOptions) -> Json:
    """`extra_body` goes into the batch (`priority`, `webhookConfig`); the model is in the address."""
    extra = {key: value for key, value in options.extra_body.items() if key != "model"}
    name = str(request.input_file_id).removeprefix("files/")
    shown = name_for(dict(request.metadata) if request.metadata else None, name)
    return {"batch": {"displayName": shown, "inputConfig": {"fileName": f"files/{name}"}, **extra}}


def _with_model(operation: Json, model: str) -> Json:
    """The first answer may say no more than a name."""
    metadata = mapping(operation.get("metadata"))
    return {**operation, "metadata": {"model": f"models/{model}", **metadata}}


async def _written(rows: Sequence[Json]) -> AsyncIterator[bytes]:
    for start in range(0, len(rows), _BLOCK):
        yield b"".join(map(encode, rows[start : start + _BLOCK]))


def _retry_info(body: object) -> float | None:
    """Seconds, where Google says them in the answer."""
    for detail in objects(mapping(mapping(body).get("error")).get("details")):
        match = _DELAY.fullmatch(str(detail.get("retryDelay")))
        if match is not None:
            return float(match[1])
    return None
