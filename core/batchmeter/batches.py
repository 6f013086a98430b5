"""`client.batches`: submit, follow, cancel, list and await batches, in OpenAI's call shapes."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from .errors import NotSupportedError, UsageError
from .events import Settlement
from .files import options
from .models import Attribution, Batch, Page
from .providers import BatchRequest, DeletesBatches, Provider

if TYPE_CHECKING:
    from .client import AsyncClient

ENDPOINTS = "/v1/chat/completions, /v1/responses, /v1/embeddings, /v1/completions, /v1/moderations, …"


class AsyncBatches:
    """Batches at any account; the common arguments are those of `AsyncFiles`."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def create(
        self,
        *,
        input_file_id: str | None = None,
        endpoint: str,
        completion_window: str = "24h",
        metadata: Mapping[str, str] | None = None,
        output_expires_after: Mapping[str, Any] | None = None,
        model: str | None = None,
        attribution: Attribution | Mapping[str, Any] | None = None,
        traceparent: str | None = None,
        idempotency_key: str | None = None,
        wait_for_room: bool = True,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> Batch:
        """Submit once, and emit `acreate_batch`.

        `attribution` (key, user, team, session, tags), `metadata` and the current trace ride on every event of the
        batch. Raises the provider's error as it came; CreateUnknownError when its answer was lost. `wait_for_room`
        False raises a full queue's refusal at once, also where the account is configured to wait.
        """
        from .submit import submission_of, submit  # noqa: PLC0415 - with the ledger and tracker, when first needed

        parts = await self._client.ready()
        provider = await self._client.provider(custom_llm_provider, account_settings, about=input_file_id)
        request = BatchRequest(
            input_file_id, endpoint, completion_window, _checked(metadata), output_expires_after, model
        )
        submission = submission_of(provider, request, attribution, traceparent, extra_body)
        batch = await submit(
            parts,
            provider,
            request,
            options(extra_headers, extra_query, extra_body, timeout),
            submission,
            idempotency_key=idempotency_key,
            tag=self._client.accounts.tags(provider.account),
            wait=wait_for_room,
        )
        self._client.accounts.renew(provider.account, provider)
        return batch

    async def retrieve(
        self,
        batch_id: str,
        *,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> Batch:
        """As the provider shows it now; what it shows advances the ledger."""
        provider = await self._client.provider(custom_llm_provider, account_settings, about=batch_id)
        batch = await provider.retrieve_batch(batch_id, options(extra_headers, extra_query, extra_body, timeout))
        return await self._seen(provider, batch)

    async def cancel(
        self,
        batch_id: str,
        *,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> Batch:
        """Ask for it; what was finished by then is still billed, and metered when it ends."""
        provider = await self._client.provider(custom_llm_provider, account_settings, about=batch_id)
        batch = await provider.cancel_batch(batch_id, options(extra_headers, extra_query, extra_body, timeout))
        return await self._seen(provider, batch)

    async def delete(
        self,
        batch_id: str,
        *,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> None:
        """Have a settled batch forgotten by its provider (Vertex AI); its files, and the ledger, are left alone.

        NotSupportedError where the provider keeps its batches for good, UsageError before it is settled.
        """
        parts = await self._client.ready()
        provider = await self._client.provider(custom_llm_provider, account_settings, about=batch_id)
        if not isinstance(provider, DeletesBatches):
            raise NotSupportedError(f"{provider.name} cannot delete a batch")
        if await parts.tracker.whose.is_open(provider, batch_id):
            raise UsageError(f"batch {batch_id} is not settled: wait for it first, or its cost will never be known")
        await provider.delete_batch(batch_id, options(extra_headers, extra_query, extra_body, timeout))

    async def list(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> Page[Batch]:
        """One page, newest first; `after=page.last_id` gives the next while `page.has_more`."""
        provider = await self._client.provider(custom_llm_provider, account_settings)
        chosen = options(extra_headers, extra_query, extra_body, timeout)
        page = await provider.list_batches(after=after, limit=limit, options=chosen)
        return page.model_copy(update={"data": [await self._seen(provider, batch) for batch in page.data]})

    async def iterate(self, **arguments: Any) -> AsyncIterator[Batch]:
        """All batches, page by page; arguments as `list`."""
        while True:
            page = await self.list(**arguments)
            for batch in page:
                yield batch
            if not page.has_more or not page.data:
                return
            arguments["after"] = page.last_id or page.data[-1].id

    async def wait(
        self,
        batch_id: str,
        *,
        custom_llm_provider: str | None = None,
        timeout: float | None = None,
        on_update: Callable[[Batch], object] | None = None,
        **account_settings: Any,
    ) -> Settlement:
        """Until it has ended and is settled: status, counts, usage and cost.

        `timeout` in seconds for the whole wait; then SettlementError (the batch goes on, and stays tracked). A batch
        that was not submitted through batchmeter is adopted.
        """
        parts = await self._client.ready()
        provider = await self._client.provider(custom_llm_provider, account_settings, about=batch_id)
        account, batch_id = await parts.tracker.adopter.tracked_as(provider, batch_id)
        return await parts.tracker.wait(account, batch_id, provider=provider, timeout=timeout, on_update=on_update)

    async def settlement(self, batch_id: str, *, custom_llm_provider: str | None = None) -> Settlement | None:
        """What it came to, from the ledger alone; None while it is open or unknown."""
        found = await (await self._client.ready()).ledger.settlement(batch_id, custom_llm_provider)
        return None if found is None else found[0]

    async def _seen(self, provider: Provider, batch: Batch) -> Batch:
        from .tracking.tag import without_tag  # noqa: PLC0415 - as above

        parts = await self._client.ready()
        await parts.tracker.shown(provider, batch)
        return without_tag(batch)


def _checked(metadata: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Strings to strings, as every provider wants them; the rest of the rules are the provider's to enforce."""
    for key, value in cast("Mapping[object, object]", metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise UsageError(f"metadata must map strings to strings: {key!r} has {type(value).__name__} {value!r}")
    return metadata
