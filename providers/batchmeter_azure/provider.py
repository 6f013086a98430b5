"""The Azure account: OpenAI's operations, and what Azure does differently around a create."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from batchmeter.errors import APIStatusError, UsageError
from batchmeter.http import HttpClient, origin_of, redact_url
from batchmeter.inputs import InputLimits
from batchmeter.models import Batch, FileObject
from batchmeter.providers import AccountSettings, BatchRequest, CallOptions, Capabilities, FileUpload, OutputFile
from batchmeter_openai.wire import OpenAIWire

from .address import address
from .auth import Auth
from .files import LIMITS, check_expiry, wait_until_processed
from .queue import pause, queue_full
from .settings import AzureSettings
from .storage import BlobStore, bare


class AzureProvider(OpenAIWire):
    """One Azure OpenAI resource."""

    name: ClassVar[str] = "azure"
    Settings: ClassVar[type[AccountSettings]] = AzureSettings
    capabilities: ClassVar[Capabilities] = Capabilities()
    input_limits: ClassVar[InputLimits] = LIMITS

    def __init__(self, account: str, settings: AzureSettings, *, http: Mapping[str, Any] | None = None) -> None:
        """`http`: more arguments for the HttpClients (`sleep` in tests)."""
        self.account = account
        self._settings = settings
        self._auth = Auth(account, settings)
        shared: dict[str, Any] = {
            "timeout": settings.timeout,
            "max_retries": settings.max_retries,
            "client": settings.http_client,
            **(http or {}),
        }
        base_url, query = address(account, settings)
        client = HttpClient(base_url, headers=settings.headers, auth=self._auth.api, params=query, **shared)
        super().__init__(client, region=settings.region)
        self._blobs = BlobStore(self._auth.storage, settings.storage_sas, settings.storage_origins, **shared)

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        check_expiry("expires_after", upload.expires_after)
        return await super().create_file(upload, options)

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        """From an uploaded file, or from your own storage: `input_file_id` (or `extra_body`'s `input_blob`) is then a URL."""
        check_expiry("output_expires_after", request.output_expires_after)
        request, options = self._on_own_storage(request, options)
        if request.input_file_id:
            await wait_until_processed(
                partial(self.retrieve_file, request.input_file_id, replace(options, extra_body={})),
                seconds=self._settings.file_wait,
                sleep=self._http.sleep,
            )
        return await super().create_batch(request, options)

    @property
    def create_wait(self) -> float:
        return self._settings.file_wait

    @property
    def queue_patience(self) -> float:
        return self._settings.retry_queue_full

    def queue_pause(self, refusal: Batch | APIStatusError, attempt: int) -> float | None:
        """Of a refused create (regions that fail fast) and of a batch that failed for it (the others)."""
        return pause(attempt, refusal) if queue_full(refusal) else None

    async def outputs(self, batch: Batch) -> Sequence[OutputFile]:
        """Files; on own storage the blobs, of which a missing one holds no rows unless the counts say otherwise."""
        found = list(await super().outputs(batch))
        completed = batch.request_counts.completed if batch.request_counts else 0
        named = batch.model_extra or {}
        if url := named.get("output_blob"):
            opener = partial(self._blobs.open, str(url), may_be_missing=completed == 0)
            found.append(OutputFile(bare(str(url)), "output", opener))
        if url := named.get("error_blob"):
            opener = partial(self._blobs.open, str(url), may_be_missing=True)
            found.append(OutputFile(bare(str(url)), "error", opener))
        return found

    def price_model(self, model: str) -> str:
        """A deployment's model; names of models stay as they are."""
        return self._settings.deployments.get(model, model)

    async def aclose(self) -> None:
        await super().aclose()
        await self._blobs.aclose()
        await self._auth.aclose()

    def _on_own_storage(self, request: BatchRequest, options: CallOptions) -> tuple[BatchRequest, CallOptions]:
        """Such a batch names blobs in place of a file, and Azure refuses metadata with it."""
        given = request.input_file_id or ""
        blob = given if given.startswith(("https://", "http://")) else options.extra_body.get("input_blob")
        if blob is None:
            return request, options
        folder: Any = options.extra_body.get("output_folder", self._settings.output_folder)
        if not folder:
            raise UsageError(
                f"a batch on your own storage needs output_folder: set it under [accounts.{self.account}] or in extra_body"
            )
        target: Any = {"url": folder} if isinstance(folder, str) else folder
        url = str(target.get("url", ""))
        if origin_of(url) not in self._settings.storage_origins:
            raise UsageError(
                f"the answers would lie at {redact_url(url)}, which is at none of this account's storage accounts: "
                f"name it in output_folder or storage_accounts under [accounts.{self.account}]"
            )
        where = {"input_blob": blob, "output_folder": target}
        return (
            replace(request, input_file_id=None, metadata=None),
            replace(options, extra_body={**options.extra_body, **where}),
        )
