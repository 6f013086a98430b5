"""The xAI account: OpenAI's files, xAI's batches and their results."""

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, cast

from batchmeter.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    NotSupportedError,
    RateLimitError,
    UsageError,
)
from batchmeter.inputs import COMPATIBLE, InputLimits
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
from batchmeter_openai.keyed import KeyedWire
from batchmeter_openai.pages import TokenPages
from batchmeter_openai.shapes import as_file, as_page, object_of, readable
from batchmeter_openai.wire import path

from .batch import batch_of, name_of, view_of
from .results import PAGE, Read, native, translated
from .settings import BASE, XAISettings

MB = 1024 * 1024
LONGEST_ANSWER = 256 * MB
"""Of a page of results: images come inside it."""
LIMITS = replace(
    COMPATIBLE,
    bytes=200 * MB,
    lines=50_000,
    endpoints=frozenset(
        {
            "/v1/chat/completions",
            "/v1/responses",
            "/v1/images/generations",
            "/v1/images/edits",
            "/v1/videos/generations",
            "/v1/videos/edits",
        }
    ),
)


class XAIProvider(KeyedWire):
    """One account at xAI."""

    name: ClassVar[str] = "xai"
    Settings: ClassVar[type[AccountSettings]] = XAISettings
    capabilities: ClassVar[Capabilities] = Capabilities(list_after_any_id=False, metadata_tag=True, native_lines=True)
    input_limits: InputLimits = LIMITS

    def __init__(self, account: str, settings: XAISettings, *, http: Mapping[str, Any] | None = None) -> None:
        """`http`: more arguments for the HttpClient (`sleep` in tests)."""
        self._settings = settings
        more = {"max_answer": LONGEST_ANSWER, **(http or {})}
        super().__init__(account, settings, base=BASE, variable="XAI_API_KEY", **more)
        self._files = TokenPages(self._files_page)
        self._batches = TokenPages(self._batches_page)

    # -- files

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        """`expires_after` goes as plain seconds, before the file, as xAI wants it."""
        extra = dict(options.extra_body)
        if upload.expires_after is not None:
            extra["expires_after"] = upload.expires_after.get("seconds")
        bare = replace(upload, expires_after=None, form=None)
        return await super().create_file(bare, replace(options, extra_body=extra))

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject:
        view = view_of(file_id)
        if view is None:
            return await super().retrieve_file(file_id, options)
        await self.retrieve_batch(view[1], options)
        return FileObject(id=file_id, filename=f"{file_id}.jsonl", purpose="batch_output", status="processed")

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]:
        """Uploads in xAI's own order; results are found through their batches."""
        del purpose, order, options
        return await self._files.page(after, limit)

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted:
        if view_of(file_id) is not None:
            raise NotSupportedError(
                f"{file_id} is a view of a batch's results, which xAI itself deletes with the batch"
            )
        return await super().delete_file(file_id, options)

    @asynccontextmanager
    async def file_content(self, file_id: str, options: CallOptions) -> AsyncGenerator[ContentStream]:
        """Results as OpenAI's lines."""
        view = view_of(file_id)
        if view is None:
            async with AsyncExitStack() as stack:
                with _refusals():  # not of what a reader does with the bytes
                    content = await stack.enter_async_context(super().file_content(file_id, options))
                yield content
            return
        kind, batch_id = view
        await self.retrieve_batch(batch_id, options)
        async with aclosing(translated(self._reader(batch_id, options), kind)) as lines:
            yield ContentStream(lines, "application/jsonl")

    # -- batches

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        """The name carries endpoint and metadata: by its tag there a lost create is found again."""
        if not request.input_file_id:
            raise UsageError("xai: a batch needs an input_file_id")
        body = {"name": name_of(request), "input_file_id": request.input_file_id}
        batch = self._as_batch(await self._call("POST", "batches", options, body_of=body, retry="create"))
        return batch.model_copy(update={"input_file_id": batch.input_file_id or request.input_file_id})

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return self._as_batch(await self._call("GET", path("batches", batch_id), options))

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        await self._call("POST", f"{path('batches', batch_id)}:cancel", options)
        return await self.retrieve_batch(batch_id, replace(options, extra_body={}))

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        del options
        return await self._batches.page(after, limit)

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        """xAI's own rows, answered and failed: they name what each cost."""
        named = batch.output_file_id or batch.error_file_id
        return [] if named is None else [OutputFile(named, "output", partial(self._native, batch.id))]

    @property
    def queue_patience(self) -> float:
        return self._settings.retry_queue_full

    def queue_pause(self, refusal: Batch | APIStatusError, attempt: int) -> float | None:
        """A team's creates are one a second; one too many is refused and made nothing."""
        if not isinstance(refusal, RateLimitError):
            return None
        return refusal.retry_after if refusal.retry_after is not None else min(2.0**attempt, 30.0)

    # -- pages

    @asynccontextmanager
    async def _native(self, batch_id: str) -> AsyncGenerator[ContentStream]:
        async with aclosing(native(self._reader(batch_id, CallOptions()))) as rows:
            yield ContentStream(rows, "application/jsonl")

    def _reader(self, batch_id: str, options: CallOptions) -> Read:
        async def read(token: str | None) -> bytes:
            params = {"limit": PAGE, "pagination_token": token}
            where = path("batches", batch_id, "results")
            with _refusals():
                answer = await self._http.request(
                    "GET", where, params=params, headers=options.extra_headers, timeout=options.timeout
                )
            return answer.content

        return read

    async def _files_page(self, token: str | None, limit: int) -> tuple[list[FileObject], str | None]:
        params = {"limit": limit, "pagination_token": token}
        raw = await self._call("GET", "files", CallOptions(), params=params)
        page = as_page(raw, as_file, Page[FileObject])
        return page.data, _token_in(raw)

    async def _batches_page(self, token: str | None, limit: int) -> tuple[list[Batch], str | None]:
        params = {"limit": limit, "pagination_token": token}
        raw = await self._call("GET", "batches", CallOptions(), params=params)
        rows: object = object_of(raw, "a list").get("batches")
        found = cast("list[object]", rows) if isinstance(rows, list) else []
        return readable(found, self._as_batch), _token_in(raw)

    def _as_batch(self, raw: object) -> Batch:
        return batch_of(raw, datetime.now(UTC).date())

    async def _call(self, method: str, where: str, options: CallOptions, **more: Any) -> Any:
        with _refusals():
            return await super()._call(method, where, options, **more)


def _token_in(page: Any) -> str | None:
    token = page.get("pagination_token") if isinstance(page, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return token if isinstance(token, str) else None


@contextmanager
def _refusals() -> Generator[None]:
    """xAI answers a wrong key with 400, which would look like a wrong request."""
    try:
        yield
    except BadRequestError as error:
        if "api key" not in str(error).lower():
            raise
        raise AuthenticationError(
            str(error), status_code=error.status_code, body=error.body, content=error.content, headers=error.headers
        ) from error
