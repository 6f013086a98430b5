"""The provider: one account's input files and Message Batches, in OpenAI's shapes."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from typing import Any, ClassVar

from batchmeter.errors import (
    APIConnectionError,
    APIStatusError,
    ConfigError,
    NotFoundError,
    NotSupportedError,
    UsageError,
    made_nothing,
)
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
from batchmeter_spool.notes import BatchNote, Notes
from batchmeter_spool.record import SpooledFile, no_such
from batchmeter_spool.spool import Spool
from batchmeter_translate.listing import page_of
from batchmeter_translate.shape import Json

from .answers import Answers
from .batches import MessageBatches
from .files import ROWS, Files
from .lost import LostCreates
from .rows import LIMITS, MESSAGES
from .settings import AnthropicSettings
from .states import View, batch_of, parse_view

_PAGE = 20
_QUEUE_FULL = 429
_OVERLOADED = 529
"""Refused at the door, though it is a 5xx: nothing was made."""
_UNSURE_SECONDS = 26 * 3600.0
"""A batch ends within 24 hours; its answers then tell whose it is."""
_FIRST_PAUSE, _LONGEST_PAUSE = 15.0, 300.0
_SPENT = (b"spend_limit", b"contract_spend_limit")
"""In a 429 that no waiting mends."""


class AnthropicProvider:
    """Claude batches."""

    name: ClassVar[str] = "anthropic"
    Settings: ClassVar[type[AccountSettings]] = AnthropicSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        list_after_any_id=True, metadata_tag=True, lost_create="input", native_lines=True
    )

    def __init__(self, account: str, settings: AnthropicSettings, *, http: Mapping[str, Any] | None = None) -> None:
        """`http`: more arguments for the HttpClient (`sleep` in tests)."""
        self.account = account
        self._settings = settings
        self.input_limits = LIMITS if settings.format == "openai" else None
        self.region = settings.region
        self.endpoint = settings.host
        self._http = HttpClient(
            settings.host,
            headers=_headers(settings),
            auth=self._auth,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            **(http or {}),
        )
        self._batches = MessageBatches(self._http)
        self._files = Files(settings, Spool(account, settings))
        self._notes = Notes(self._files.spool)
        self._lost = LostCreates(self._notes, self._batches, settings.timeout)

    def __repr__(self) -> str:
        return f"AnthropicProvider({self.account!r}, {self.endpoint})"

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        """InvalidInputError when a request cannot be sent; the file then exists nowhere."""
        del options  # nothing is sent: Anthropic keeps no input files
        return await self._files.create(upload)

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject:
        view = parse_view(file_id)
        if view is None:
            return (await self._files.spool.look(file_id)).object()
        row = await self._ended(view, options)
        return FileObject(
            id=view.id,
            bytes=0,
            created_at=row.get("ended_at"),
            filename=f"{view.batch}_{view.kind}.jsonl",
            purpose="batch_output",
            status="processed",
        )

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]:
        """Uploads only: answers are found through their batches."""
        del options
        return await self._files.spool.page(purpose=purpose, after=after, limit=limit, order=order)

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted:
        """Of an upload. Answers go with their batch."""
        del options
        if parse_view(file_id) is not None:
            raise NotSupportedError("anthropic: answers are deleted with their batch, and by themselves after 29 days")
        return await self._files.spool.delete(file_id)

    def file_content(self, file_id: str, options: CallOptions) -> AbstractAsyncContextManager[ContentStream]:
        view = parse_view(file_id)
        return self._files.spool.read(file_id) if view is None else self._view(view, options)

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        """The note about it is on the disk before the call, so that the batch is found without its answer."""
        if not request.input_file_id:
            raise UsageError("anthropic: a batch needs an input_file_id")
        if request.output_expires_after:
            raise NotSupportedError("anthropic: answers expire 29 days after the batch was made, and never else")
        record = await self._files.spool.look(request.input_file_id)
        note = _note(record, request)
        size = self._files.spool.size(record, ROWS)
        key = await self._notes.open(note)
        try:
            rows = partial(self._files.spool.read, record.id, ROWS)
            row = await self._batches.create(rows, size, options.extra_body, options)
        except (APIStatusError, APIConnectionError) as error:
            if made_nothing(error) or (isinstance(error, APIStatusError) and error.status_code == _OVERLOADED):
                await self._notes.close(key, None)
            raise
        await self._notes.close(key, str(row.get("id") or "") or None)
        return self._batch(row, note)

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return await self._noted(await self._batches.get(batch_id, options))

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return await self._noted(await self._batches.cancel(batch_id, options))

    async def delete_batch(self, batch_id: str, options: CallOptions) -> None:
        """Of an ended one, with its answers; the input file stays."""
        await self._batches.delete(batch_id, options)
        await self._notes.forget(batch_id)

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        rows, more = await self._batches.page(after, limit or _PAGE, options)
        if after is None:
            await self._lost.join(rows, more, options)
        notes = await self._notes.of([str(row.get("id")) for row in rows])
        return page_of([self._batch(row, notes.get(str(row.get("id")))) for row in rows], more=more)

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        """Anthropic's own rows, good and bad in one stream."""
        if not batch.ended or not batch.request_counts or not batch.request_counts.total:
            return []
        view = View("output", batch.id)
        return [OutputFile(view.id, "output", lambda: self._batches.results(batch.id, CallOptions()))]

    def price_model(self, model: str) -> str:
        return model

    @property
    def create_wait(self) -> float:
        """Seconds in which a lost create may still be found: until a batch that may be its has ended."""
        return _UNSURE_SECONDS if self._lost.unsure else 0.0

    @property
    def queue_patience(self) -> float:
        return self._settings.retry_queue_full

    def queue_pause(self, refusal: Batch | APIStatusError, attempt: int) -> float | None:
        """A 429 at the create: too many requests wait. A spend limit is no queue."""
        if (
            isinstance(refusal, Batch)
            or refusal.status_code != _QUEUE_FULL
            or any(word in refusal.content for word in _SPENT)
        ):
            return None
        return refusal.retry_after or min(_FIRST_PAUSE * 2.0 ** min(attempt, 10), _LONGEST_PAUSE)

    async def aclose(self) -> None:
        await self._http.aclose()

    @asynccontextmanager
    async def _view(self, view: View, options: CallOptions) -> AsyncGenerator[ContentStream]:
        await self._ended(view, options)
        note = (await self._notes.of([view.batch])).get(view.batch)
        async with self._batches.results(view.batch, options) as results:
            if self._settings.format == "native":
                yield results
                return
            endpoint = MESSAGES if note is None else note.endpoint
            answers = Answers(view.kind, endpoint, self._files.kept_ids(await self._input_of(note)))
            async with aclosing(answers.translated(results.chunks)) as lines:
                yield ContentStream(lines, "application/jsonl")

    async def _ended(self, view: View, options: CallOptions) -> Json:
        """NotFoundError while there are no such results, and where there will be none."""
        row = await self._batches.get(view.batch, options)
        batch = self._batch(row, None)
        if view.id not in (batch.output_file_id, batch.error_file_id):
            raise no_such("file", view.id)
        return row

    async def _input_of(self, note: BatchNote | None) -> SpooledFile | None:
        """None where it has been deleted meanwhile."""
        if note is None:
            return None
        try:
            return await self._files.spool.look(note.input_file_id)
        except NotFoundError:
            return None

    async def _noted(self, row: Json) -> Batch:
        batch_id = str(row.get("id"))
        return self._batch(row, (await self._notes.of([batch_id])).get(batch_id))

    def _batch(self, row: Json, note: BatchNote | None) -> Batch:
        return batch_of(row, note, native=self._settings.format == "native")

    async def _auth(self) -> Mapping[str, str]:
        key, token = self._settings.api_key, self._settings.auth_token
        if key is not None:
            return {"x-api-key": key.get_secret_value()}
        if token is not None:
            return {"authorization": f"Bearer {token.get_secret_value()}"}
        raise ConfigError(
            f"account {self.account!r} has no API key: set ANTHROPIC_API_KEY (for Anthropic's own address), or "
            f"api_key_env, api_key_file or api_key under [accounts.{self.account}]"
        )


def _headers(settings: AnthropicSettings) -> dict[str, str]:
    named = {
        "anthropic-version": settings.version,
        "anthropic-beta": ",".join(settings.beta),
        "anthropic-workspace-id": settings.workspace_id,
    }
    return {**{name: text for name, text in named.items() if text}, **settings.headers}


def _note(record: SpooledFile, request: BatchRequest) -> BatchNote:
    endpoint = record.notes.get("endpoint")
    if endpoint is None:
        raise UsageError(
            f"{record.id} was uploaded with purpose {record.purpose!r}; a batch reads one with purpose batch"
        )
    if endpoint != request.endpoint and request.endpoint:
        raise UsageError(f"the file's lines are for {endpoint}, the batch asks for {request.endpoint}")
    return BatchNote(
        input_file_id=record.id,
        endpoint=endpoint,
        requests=int(record.notes["requests"]),
        ids_digest=record.notes["ids"],
        at=time.time(),
        model=record.notes["model"] or None,
        metadata=dict(request.metadata) if request.metadata else None,
    )
