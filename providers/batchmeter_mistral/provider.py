"""The Mistral account: OpenAI's files with Mistral's lines, and its jobs as batches."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from batchmeter.errors import APIStatusError, NotFoundError, NotSupportedError, RateLimitError
from batchmeter.http import Body, multipart
from batchmeter.inputs import COMPATIBLE, InputLimits
from batchmeter.models import Batch, FileDeleted, FileObject, Page
from batchmeter.providers import (
    AccountSettings,
    BatchRequest,
    CallOptions,
    Capabilities,
    ContentStream,
    FileUpload,
)
from batchmeter_openai.keyed import KeyedWire
from batchmeter_openai.pages import LARGEST, TokenPages
from batchmeter_openai.shapes import as_file, object_of, readable
from batchmeter_openai.wire import form_fields, path

from .job import batch_of, inline_job, job_of
from .lines import ENDPOINTS, marked, to_openai, translated, unmarked
from .settings import BASE, MistralSettings
from .upload import PeekedUpload

MB = 1024 * 1024
LIMITS = replace(COMPATIBLE, bytes=512 * MB, lines=1_000_000, endpoints=frozenset(ENDPOINTS), one_model=True)
JOBS = "batch/jobs"
HOUR = 3600


class MistralProvider(KeyedWire):
    """One account at Mistral."""

    name: ClassVar[str] = "mistral"
    Settings: ClassVar[type[AccountSettings]] = MistralSettings
    capabilities: ClassVar[Capabilities] = Capabilities(list_after_any_id=False, metadata_tag=True)
    input_limits: InputLimits = LIMITS

    def __init__(self, account: str, settings: MistralSettings, *, http: Mapping[str, Any] | None = None) -> None:
        """`http`: more arguments for the HttpClient (`sleep` in tests)."""
        self._settings = settings
        super().__init__(account, settings, base=BASE, variable="MISTRAL_API_KEY", **(http or {}))
        self._file_pages = TokenPages(self._files_from)
        self._job_pages = TokenPages(self._jobs_from)

    # -- files

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        """Batch input goes as Mistral's lines, whose length nobody knows before; other files go as they are."""
        fields = {"purpose": upload.purpose, **options.extra_body}
        if upload.expires_after is not None:
            fields["expiry"] = max(int(upload.expires_after.get("seconds", 0)) // HOUR, 1)
        if upload.purpose != "batch":
            file = Body(upload.open, upload.content_type, upload.size, upload.replayable)
            return await self._send(fields, upload.filename, upload.content_type, file, options)
        peeked = PeekedUpload(upload)
        url = await peeked.url()
        name = upload.filename if url is None else marked(upload.filename, url)
        file = Body(peeked.lines, upload.content_type, None, upload.replayable)
        sent = await self._send(fields, name, upload.content_type, file, options)
        return sent.model_copy(update={"bytes": peeked.size})

    async def _send(
        self, fields: Mapping[str, Any], name: str, content_type: str, file: Body, options: CallOptions
    ) -> FileObject:
        form = multipart(form_fields(fields), name, content_type, file)
        return _file(await self._call("POST", "files", options, body=form))

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject:
        job = inline_job(file_id)
        if job is None:
            return _file(await self._call("GET", path("files", file_id), options))
        await self.retrieve_batch(job, options)
        return FileObject(id=file_id, filename=f"{file_id}.jsonl", purpose="batch", status="processed")

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]:
        """Newest first, of every purpose."""
        del purpose, order, options
        return await self._file_pages.page(after, limit)

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted:
        if inline_job(file_id) is not None:
            raise NotSupportedError(f"{file_id} is a view of its job's answers; delete the batch")
        return await super().delete_file(file_id, options)

    @asynccontextmanager
    async def file_content(self, file_id: str, options: CallOptions) -> AsyncGenerator[ContentStream]:
        """An input file as OpenAI's lines, where its name says for which url they are."""
        job = inline_job(file_id)
        if job is not None:
            yield ContentStream(self._inline(job, options), "application/jsonl")
            return
        url = await self._url_of(file_id, options)
        async with super().file_content(file_id, options) as content:
            if url is None:
                yield content
                return
            async with aclosing(translated(content.chunks, partial(to_openai, url=url))) as lines:
                yield ContentStream(lines, "application/jsonl", None, content.headers, content.status_code)

    async def _url_of(self, file_id: str, options: CallOptions) -> str | None:
        found = await self._call("GET", path("files", file_id), replace(options, extra_headers={}, extra_body={}))
        return unmarked(str(found.get("filename") or ""))[1]

    async def _inline(self, job: str, options: CallOptions) -> AsyncIterator[bytes]:
        found = await self._call("GET", path("batch", "jobs", job), options, params={"inline": "true"})
        for row in found.get("outputs") or ():
            yield json.dumps(row).encode() + b"\n"

    def _opener(self, file_id: str) -> Any:
        """Answers have no urls: nothing is asked before they are read."""
        if inline_job(file_id) is not None:
            return super()._opener(file_id)
        return partial(super().file_content, file_id, CallOptions())

    # -- batches

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        body = job_of(request, options.extra_body)
        return batch_of(await self._call("POST", JOBS, options, body_of=body, retry="create"))

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return batch_of(await self._call("GET", path("batch", "jobs", batch_id), options))

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return batch_of(await self._call("POST", path("batch", "jobs", batch_id, "cancel"), options))

    async def delete_batch(self, batch_id: str, options: CallOptions) -> None:
        """Its files stay."""
        await self._call("DELETE", path("batch", "jobs", batch_id), options)

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        del options
        return await self._job_pages.page(after, limit)

    @property
    def queue_patience(self) -> float:
        return self._settings.retry_queue_full

    def queue_pause(self, refusal: Batch | APIStatusError, attempt: int) -> float | None:
        """A refused create made nothing."""
        if not isinstance(refusal, RateLimitError):
            return None
        return refusal.retry_after if refusal.retry_after is not None else min(15.0 * 2**attempt, 300.0)

    # -- lists: pages have numbers, which OpenAI's cursors are turned into

    async def _files_from(self, token: str | None, limit: int) -> tuple[list[FileObject], str | None]:
        """Without those that are deleted and still shown; none at all only at the list's end."""
        while True:
            rows, token = await self._rows("files", token, limit)
            shown = [file for file in readable(rows, as_file) if (file.model_extra or {}).get("deleted") is not True]
            if shown or token is None:
                return [_named(file) for file in shown], token

    async def _jobs_from(self, token: str | None, limit: int) -> tuple[list[Batch], str | None]:
        rows, following = await self._rows(JOBS, token, limit, order_by="-created")
        return readable(rows, batch_of), following

    async def _rows(self, where: str, token: str | None, limit: int, **more: str) -> tuple[list[Any], str | None]:
        """`token` is the number of rows before; pages are always of one size, so that their numbers mean the same."""
        start = int(token or 0)
        params = {"page": start // LARGEST, "page_size": LARGEST, **more}
        answer = object_of(await self._call("GET", where, CallOptions(), params=params), "a list")
        whole: list[Any] = answer["data"] if isinstance(answer.get("data"), list) else []
        rows = whole[start % LARGEST :][:limit]
        is_last = len(whole) < LARGEST and start % LARGEST + len(rows) >= len(whole)
        return rows, None if is_last or not rows else str(start + len(rows))


def _file(raw: Any) -> FileObject:
    """Under the name that its user gave it; a deleted one that is still shown is not there."""
    file = as_file(raw)
    if (file.model_extra or {}).get("deleted") is True:
        message = f"No such file: {file.id}"
        raise NotFoundError(message, status_code=404, body={"detail": message})
    return _named(file)


def _named(file: FileObject) -> FileObject:
    return file.model_copy(update={"filename": unmarked(file.filename or "")[0] or None})
