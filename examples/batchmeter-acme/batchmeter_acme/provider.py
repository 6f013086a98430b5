"""The provider: Acme's uploads and jobs as OpenAI's files and batches."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar

from pydantic import Field, SecretStr

from batchmeter.errors import ConfigError
from batchmeter.http import Body, HttpClient
from batchmeter.models import Batch, FileDeleted, FileObject, Page, Secret
from batchmeter.providers import (
    AccountSettings,
    BatchRequest,
    CallOptions,
    Capabilities,
    ContentStream,
    FileUpload,
    OutputFile,
)

STATUSES = {
    "WAITING": "validating",
    "WORKING": "in_progress",
    "DONE": "completed",
    "BROKEN": "failed",
    "LATE": "expired",
    "STOPPED": "cancelled",
}
"""A word that is missing here is shown as it is, and means that the batch has not ended."""
ENDED_AT = {"DONE": "completed_at", "BROKEN": "failed_at", "LATE": "expired_at", "STOPPED": "cancelled_at"}


def _key_from_env() -> SecretStr | None:
    found = os.environ.get("ACME_API_KEY", "").strip()
    return SecretStr(found) if found else None


class AcmeSettings(AccountSettings):
    """`[accounts.acme]` in batchmeter.toml."""

    api_key: Secret | None = Field(default_factory=_key_from_env)
    """From ACME_API_KEY; an account with another `api_base` needs a key of its own."""
    api_base: str | None = "https://api.acme.example/v1"


class AcmeProvider:
    """One account. It holds connections, never state: what a restart would lose belongs to the vendor."""

    name: ClassVar[str] = "acme"
    Settings: ClassVar[type[AccountSettings]] = AcmeSettings
    capabilities: ClassVar[Capabilities] = Capabilities(list_after_any_id=True, metadata_tag=True)

    def __init__(self, account: str, settings: AcmeSettings) -> None:
        self.account = account
        self.region = settings.region
        self.endpoint = settings.api_base or ""
        self._settings = settings
        self._http = HttpClient(
            self.endpoint,
            headers=settings.headers,
            auth=self._auth,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
        )

    async def _auth(self) -> Mapping[str, str]:
        key = self._settings.api_key
        if key is None:
            raise ConfigError(
                f"account {self.account!r} has no API key: set ACME_API_KEY, or api_key_env under [accounts.{self.account}]"
            )
        return {"x-acme-key": key.get_secret_value()}

    # -- files: Acme's uploads

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        """The body streams: the file is never in memory."""
        body = Body(upload.open, upload.content_type, upload.size, upload.replayable)
        answer = await self._call("POST", "uploads", options, params={"name": upload.filename}, body=body)
        return _file(answer)

    async def retrieve_file(self, file_id: str, options: CallOptions) -> FileObject:
        return _file(await self._call("GET", f"uploads/{file_id}", options))

    async def list_files(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None, options: CallOptions
    ) -> Page[FileObject]:
        answer = await self._call("GET", "uploads", options, params={"older_than": after, "count": limit})
        files = [_file(upload) for upload in answer["uploads"]]
        return Page(data=files, last_id=files[-1].id if files else None, has_more=answer["more"])

    async def delete_file(self, file_id: str, options: CallOptions) -> FileDeleted:
        await self._call("DELETE", f"uploads/{file_id}", options)
        return FileDeleted(id=file_id)

    @asynccontextmanager
    async def file_content(self, file_id: str, options: CallOptions) -> AsyncGenerator[ContentStream]:
        async with self._http.stream("GET", f"uploads/{file_id}/data", headers=options.extra_headers) as answer:
            yield ContentStream(answer.chunks, "application/jsonl", answer.size, answer.headers, answer.status_code)

    # -- batches: Acme's jobs

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        """`retry="create"`: sent once. A create whose answer is lost is found again by its label `batchmeter_id`."""
        asked = {"upload": request.input_file_id, "labels": dict(request.metadata or {}), **options.extra_body}
        return _batch(await self._call("POST", "jobs", options, json_body=asked, retry="create"))

    async def retrieve_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return _batch(await self._call("GET", f"jobs/{batch_id}", options))

    async def cancel_batch(self, batch_id: str, options: CallOptions) -> Batch:
        return _batch(await self._call("POST", f"jobs/{batch_id}/stop", options))

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        """Newest first, and `after` may be any id: the tracker sees a hundred batches at once."""
        answer = await self._call("GET", "jobs", options, params={"older_than": after, "count": limit})
        batches = [_batch(job) for job in answer["jobs"]]
        return Page(data=batches, last_id=batches[-1].id if batches else None, has_more=answer["more"])

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        output = batch.output_file_id
        if output is None:
            return []
        return [OutputFile(output, "output", partial(self.file_content, output, CallOptions()))]

    def price_model(self, model: str) -> str:
        return model

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _call(self, method: str, path: str, options: CallOptions, **more: Any) -> Any:
        """One JSON answer; an error's status becomes the class of `batchmeter.errors` that is for it."""
        answer = await self._http.request(method, path, headers=options.extra_headers, timeout=options.timeout, **more)
        return answer.json()


def _file(upload: Mapping[str, Any]) -> FileObject:
    return FileObject(
        id=upload["id"], bytes=upload["size"], filename=upload["name"], purpose="batch", created_at=upload["made"]
    )


def _batch(job: Mapping[str, Any]) -> Batch:
    state = job["state"]
    ended = {ENDED_AT[state]: job["changed"]} if state in ENDED_AT else {}
    counts = {"total": job["lines"], "completed": job["good"], "failed": job["bad"]}
    return Batch.model_validate(
        {
            "id": job["id"],
            "status": STATUSES.get(state, state.lower()),
            "endpoint": "/v1/chat/completions",
            "input_file_id": job["upload"],
            "output_file_id": job["result"],
            "created_at": job["made"],
            "request_counts": counts if ended else None,
            "metadata": job["labels"],
            **ended,
        }
    )
