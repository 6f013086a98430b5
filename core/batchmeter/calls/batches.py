"""BatchCalls: submit, follow, cancel, list and await batches, in OpenAI's call shapes."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

from batchmeter.errors import NotSupportedError, UsageError
from batchmeter.events import Settlement
from batchmeter.models import Attribution, Batch
from batchmeter.providers import BatchRequest, DeletesBatches, Provider
from batchmeter.runtime.runtime import Runtime
from batchmeter.submit import submit
from batchmeter.tracker.metadata_tag import without_tag

from .arguments import (
    Timeout,
    attribution_of,
    caller_of,
    document_of,
    id_of,
    metadata_of,
    options,
    provider_for,
    required_text,
    text_of,
    whole_of,
)
from .pages import AsyncPage
from .submission import request_sha256, submission_of


class BatchCalls:
    """See AsyncBatches, which adds answers and jobs; the common arguments are those of `AsyncFiles`."""

    def __init__(self, client: Runtime) -> None:
        self._client = client

    async def create(
        self,
        completion_window: str = "24h",
        endpoint: str = "",
        input_file_id: str | None = None,
        custom_llm_provider: str | None = None,
        metadata: Mapping[str, str] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        output_expires_after: Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        attribution: Attribution | Mapping[str, Any] | None = None,
        traceparent: str | None = None,
        idempotency_key: str | None = None,
        wait_for_room: bool = True,
        extra_query: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> Batch:
        """Submit once, and emit `acreate_batch`.

        `attribution` (key, user, team, session, tags), `metadata` and the current trace ride on every event of the
        batch. Raises the provider's error as it came; CreateUnknownError when its answer was lost. `wait_for_room`
        False raises a full queue's refusal at once, also where the account is configured to wait. With an
        `idempotency_key` that was used before the first batch is returned; IdempotencyMismatchError for another input
        or other options.
        """
        source = None if input_file_id is None and extra_body else id_of("input_file_id", input_file_id)
        request = BatchRequest(
            source,
            required_text("endpoint", endpoint),
            required_text("completion_window", completion_window),
            metadata_of(metadata),
            document_of("output_expires_after", output_expires_after),
            model,
        )
        whose = caller_of(account_settings, attribution_of(attribution))
        trace = text_of("traceparent", traceparent)
        key = None if idempotency_key is None else required_text("idempotency_key", idempotency_key)
        chosen = options(extra_headers, extra_query, extra_body, timeout)
        parts = await self._client.ready()
        provider, named = await provider_for(
            self._client, custom_llm_provider, account_settings, about=source, model=model
        )
        request = replace(request, model=named)
        submission = submission_of(provider, request, whose, trace, chosen.extra_body)
        digest = key and await request_sha256(parts, provider.account, request, chosen.extra_body)
        batch = await submit(
            parts,
            provider,
            request,
            chosen,
            submission,
            idempotency_key=key,
            request_sha256=digest,
            tag=self._client.accounts.tags(provider.account),
            wait=wait_for_room,
        )
        self._client.accounts.renew(provider.account, provider)
        return batch

    async def retrieve(
        self,
        batch_id: str,
        custom_llm_provider: str | None = None,
        metadata: Mapping[str, str] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        extra_query: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> Batch:
        """As the provider shows it now; what it shows advances the ledger.

        `metadata` is taken, here and below, because LiteLLM takes it: a batch's own is set when it is created.
        """
        del metadata
        known, chosen = id_of("batch_id", batch_id), options(extra_headers, extra_query, extra_body, timeout)
        provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, about=known, model=model)
        return await self._observe(provider, await provider.retrieve_batch(known, chosen))

    async def cancel(
        self,
        batch_id: str,
        model: str | None = None,
        custom_llm_provider: str | None = None,
        metadata: Mapping[str, str] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        *,
        extra_query: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> Batch:
        """Ask for it; what was finished by then is still billed, and metered when it ends."""
        del metadata
        known, chosen = id_of("batch_id", batch_id), options(extra_headers, extra_query, extra_body, timeout)
        provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, about=known, model=model)
        return await self._observe(provider, await provider.cancel_batch(known, chosen))

    async def delete(
        self,
        batch_id: str,
        custom_llm_provider: str | None = None,
        metadata: Mapping[str, str] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        extra_query: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> None:
        """Have a settled batch forgotten by its provider, where that can; its files, and the ledger, are left alone.

        NotSupportedError where the provider keeps its batches for good, UsageError before it is settled.
        """
        from batchmeter.rounds.adoption import is_open  # noqa: PLC0415 - `import batchmeter` stays light

        del metadata
        known, chosen = id_of("batch_id", batch_id), options(extra_headers, extra_query, extra_body, timeout)
        parts = await self._client.ready()
        provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, about=known, model=model)
        if not isinstance(provider, DeletesBatches):
            raise NotSupportedError(f"{provider.name} cannot delete a batch")
        if await is_open(parts.tracker, provider, known):
            raise UsageError(f"batch {batch_id} is not settled: wait for it first, or its cost will never be known")
        await provider.delete_batch(known, chosen)

    async def list(
        self,
        after: str | None = None,
        limit: int | None = None,
        custom_llm_provider: str | None = None,
        metadata: Mapping[str, str] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        extra_query: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> AsyncPage[Batch]:
        """One page, newest first. `async for` over it goes on with the pages that follow."""
        del metadata
        chosen, most = options(extra_headers, extra_query, extra_body, timeout), whole_of("limit", limit)

        async def page(cursor: str | None) -> AsyncPage[Batch]:
            provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, model=model)
            found = await provider.list_batches(after=cursor, limit=most, options=chosen)
            observed = found.model_copy(update={"data": [await self._observe(provider, batch) for batch in found.data]})
            return AsyncPage[Batch].of(observed, page)

        return await page(text_of("after", after))

    async def iterate(self, **arguments: Any) -> AsyncIterator[Batch]:
        """All batches, page by page; arguments as `list`."""
        async for batch in await self.list(**arguments):
            yield batch

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
        from batchmeter.rounds.adoption import tracked_as  # noqa: PLC0415 - `import batchmeter` stays light

        from .waiting import wait_for  # noqa: PLC0415

        known = id_of("batch_id", batch_id)
        parts = await self._client.ready()
        provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, about=known)
        account, known = await tracked_as(parts.tracker, provider, known)
        return await wait_for(parts.tracker, account, known, provider=provider, timeout=timeout, on_update=on_update)

    async def settlement(self, batch_id: str, *, custom_llm_provider: str | None = None) -> Settlement | None:
        """Its settlement, from the ledger alone; None while it is open or unknown."""
        known = id_of("batch_id", batch_id)
        found = await (await self._client.ready()).ledger.settlement(known, custom_llm_provider)
        return None if found is None else found[0]

    async def _observe(self, provider: Provider, batch: Batch) -> Batch:
        parts = await self._client.ready()
        await parts.tracker.shown(provider, batch)
        return without_tag(batch)
