"""OpenAI's files and batches operations over HTTP, for every provider that has them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, cast
from urllib.parse import quote

from batchmeter.errors import UsageError
from batchmeter.http import Body, HttpClient, Retry, multipart, redact_url
from batchmeter.models import Batch, FileDeleted, FileObject, Page
from batchmeter.providers import BatchRequest, CallOptions, Capabilities, ContentStream, FileUpload, OutputFile

from .shapes import as_batch, as_deleted, as_file, as_page


class OpenAIWire:
    """The operations; who inherits brings the client (address, authentication) and the account's name."""

    capabilities: ClassVar[Capabilities] = Capabilities()
    account: str
    region: str | None
    endpoint: str

    def __init__(self, http: HttpClient, *, region: str | None) -> None:
        self._http = http
        self.region = region
        self.endpoint = redact_url(http.base_url)

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        fields = form_fields({"purpose": upload.purpose, "expires_after": upload.expires_after, **options.extra_body})
        file = Body(upload.open, upload.content_type, upload.size, upload.replayable)
        form = multipart(fields, upload.filename, upload.content_type, file)
        if upload.form is not None:
            form = Body(upload.form.open, upload.form.content_type, upload.form.size, replayable=False)
        return as_file(await self._call("POST", "files", options, body=form))

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject:
        return as_file(await self._call("GET", path("files", file_id), options))

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]:
        params = {"purpose": purpose, "after": after, "limit": limit, "order": order}
        return as_page(await self._call("GET", "files", options, params=params), as_file, Page[FileObject])

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted:
        return as_deleted(await self._call("DELETE", path("files", file_id), options), file_id)

    @asynccontextmanager
    async def file_content(self, file_id: str, options: CallOptions) -> AsyncGenerator[ContentStream]:
        headers = {"accept": "application/binary", **options.extra_headers}
        where = path("files", file_id, "content")
        async with self._http.stream(
            "GET", where, params=options.extra_query, headers=headers, timeout=options.timeout
        ) as response:
            kind = response.headers.get("content-type", "application/octet-stream")
            yield ContentStream(response.chunks, kind, response.size, response.headers, response.status_code)

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        return self._as_batch(await self._call("POST", "batches", options, body_of=batch_body(request), retry="create"))

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return self._as_batch(await self._call("GET", path("batches", batch_id), options))

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return self._as_batch(await self._call("POST", path("batches", batch_id, "cancel"), options))

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        return as_page(
            await self._call("GET", "batches", options, params={"after": after, "limit": limit}),
            self._as_batch,
            Page[Batch],
        )

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        found: list[OutputFile] = []
        if batch.output_file_id:
            found.append(OutputFile(batch.output_file_id, "output", self._opener(batch.output_file_id)))
        if batch.error_file_id:
            found.append(OutputFile(batch.error_file_id, "error", self._opener(batch.error_file_id)))
        return found

    def price_model(self, model: str) -> str:
        return model

    async def aclose(self) -> None:
        await self._http.aclose()

    def _as_batch(self, raw: object) -> Batch:
        return as_batch(raw)

    def _opener(self, file_id: str) -> Any:
        return partial(self.file_content, file_id, CallOptions())

    async def _call(
        self,
        method: str,
        where: str,
        options: CallOptions,
        *,
        params: Mapping[str, Any] | None = None,
        body_of: Mapping[str, Any] | None = None,
        body: Body | None = None,
        retry: Retry = "always",
    ) -> Any:
        """One JSON answer. `extra_body` joins a JSON body; a form has taken it already."""
        if body is None and (body_of is not None or options.extra_body):
            body_of = {**(body_of or {}), **options.extra_body}
        response = await self._http.request(
            method,
            where,
            params={**(params or {}), **options.extra_query},
            json_body=body_of,
            body=body,
            headers=options.extra_headers,
            timeout=options.timeout,
            retry=retry,
        )
        return response.json() if response.content else {}  # Azure answers a delete with 204


def path(*parts: str) -> str:
    """`files/<id>/content`, with ids escaped: gateways' ids are base64 and may hold slashes."""
    for part in parts:
        if part.strip(".") == "":
            raise UsageError(f"{part!r} is not an id")
    return "/".join(quote(part, safe="") for part in parts)


def batch_body(request: BatchRequest) -> dict[str, Any]:
    """The JSON of a create; what is None is left out."""
    body = {
        "input_file_id": request.input_file_id,
        "endpoint": request.endpoint,
        "completion_window": request.completion_window,
        "metadata": None if request.metadata is None else dict(request.metadata),
        "output_expires_after": None if request.output_expires_after is None else dict(request.output_expires_after),
    }
    return {name: value for name, value in body.items() if value is not None}


def form_fields(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values with brackets, as OpenAI's SDKs spell them: `expires_after[anchor]`."""
    fields: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}[{key}]" if prefix else key
        if isinstance(value, Mapping):
            fields |= form_fields(cast("Mapping[str, Any]", value), name)
        elif value is not None:
            fields[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return fields
