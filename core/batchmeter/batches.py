"""`client.batches`: submit, follow, cancel, list and await batches, in OpenAI's call shapes."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from .arguments import (
    Timeout,
    attribution_of,
    caller_of,
    document_of,
    id_of,
    metadata_of,
    options,
    required_text,
    text_of,
    whole_of,
)
from .errors import NotSupportedError, UsageError
from .events import Settlement
from .models import Attribution, Batch
from .pages import AsyncPage
from .providers import BatchRequest, DeletesBatches, Provider

if TYPE_CHECKING:
    from batchmeter import AsyncClient, Job, JobReport, Result, Results, Retry

    from .runtime import Runtime


class AsyncBatches:
    """Batches at any account; the common arguments are those of `AsyncFiles`."""

    def __init__(self, client: "Runtime") -> None:
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
        from .submit import request_sha256, submission_of, submit  # noqa: PLC0415 - with the ledger, when first needed

        account, model = text_of("custom_llm_provider", custom_llm_provider), text_of("model", model)
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
        trace, key = text_of("traceparent", traceparent), text_of("idempotency_key", idempotency_key)
        chosen = options(extra_headers, extra_query, extra_body, timeout)
        parts = await self._client.ready()
        provider, named = await self._client.provider_for(account, account_settings, about=source, model=model)
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
        provider, _ = await self._client.provider_for(custom_llm_provider, account_settings, about=known, model=model)
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
        provider, _ = await self._client.provider_for(custom_llm_provider, account_settings, about=known, model=model)
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
        del metadata
        known, chosen = id_of("batch_id", batch_id), options(extra_headers, extra_query, extra_body, timeout)
        parts = await self._client.ready()
        provider, _ = await self._client.provider_for(custom_llm_provider, account_settings, about=known, model=model)
        if not isinstance(provider, DeletesBatches):
            raise NotSupportedError(f"{provider.name} cannot delete a batch")
        if await parts.tracker.rows.is_open(provider, known):
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
            provider, _ = await self._client.provider_for(custom_llm_provider, account_settings, model=model)
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
        known = id_of("batch_id", batch_id)
        parts = await self._client.ready()
        provider, _ = await self._client.provider_for(custom_llm_provider, account_settings, about=known)
        account, known = await parts.tracker.rows.tracked_as(provider, known)
        return await parts.tracker.wait(account, known, provider=provider, timeout=timeout, on_update=on_update)

    async def settlement(self, batch_id: str, *, custom_llm_provider: str | None = None) -> Settlement | None:
        """Its settlement, from the ledger alone; None while it is open or unknown."""
        known = id_of("batch_id", batch_id)
        found = await (await self._client.ready()).ledger.settlement(known, custom_llm_provider)
        return None if found is None else found[0]

    async def results(
        self, batch_id: str, *, requests: bool = False, custom_llm_provider: str | None = None, **account_settings: Any
    ) -> "Results":
        """Every answer of an ended batch by custom_id, in memory, with what it cost.

        In the order of its files; with `requests` in the input's order, each with its request, and with an error for
        those without an answer. UsageError while the batch is open; NotFoundError where its files are gone.
        """
        from batchmeter import Results  # noqa: PLC0415 - built on core, which works without it

        known = await self._ended(batch_id, custom_llm_provider, account_settings)
        return await Results.read(*known, requests=requests)

    async def iter_results(
        self, batch_id: str, *, requests: bool = False, custom_llm_provider: str | None = None, **account_settings: Any
    ) -> "AsyncGenerator[Result]":
        """As `results`, one after the other, however many there are; of a request with two answers, both."""
        from batchmeter import Results  # noqa: PLC0415 - as above

        known = await self._ended(batch_id, custom_llm_provider, account_settings)
        async with aclosing(Results.stream(*known, requests=requests)) as results:
            async for result in results:
                yield result

    async def iter_lines(
        self, batch_id: str, *, requests: bool = False, custom_llm_provider: str | None = None, **account_settings: Any
    ) -> "AsyncGenerator[bytes]":
        """As `iter_results`, each line of the files as the provider wrote it; with `requests`, `request` is added."""
        from batchmeter import Results  # noqa: PLC0415 - as above

        known = await self._ended(batch_id, custom_llm_provider, account_settings)
        async with aclosing(Results.lines(*known, requests=requests)) as lines:
            async for line in lines:
                yield line

    async def create_many(
        self,
        file: str | os.PathLike[str],
        endpoint: str,
        completion_window: str = "24h",
        custom_llm_provider: str | None = None,
        metadata: Mapping[str, str] | None = None,
        *,
        job: str | None = None,
        again: bool = False,
        attribution: Attribution | Mapping[str, Any] | None = None,
        **account_settings: Any,
    ) -> "Job":
        """Submit an input file of any size as the batches that its provider's limits ask for: lines, bytes, models.

        The same call submits nothing twice: after a crash it goes on where it stopped; `again` submits all anew. `job`
        names it, by default the hash of its content. InvalidInputError before anything is sent.
        """
        from batchmeter import Jobs  # noqa: PLC0415 - as above

        whose, given = attribution_of(attribution), {"custom_llm_provider": custom_llm_provider, **account_settings}
        return await Jobs(self._whole).create(
            file, endpoint, completion_window, metadata, job=job, again=again, attribution=whose, where=given
        )

    async def wait_many(
        self,
        job: "Job",
        *,
        timeout: float | None = None,
        on_update: Callable[[Batch], object] | None = None,
        progress: bool | None = False,
        **account_settings: Any,
    ) -> "JobReport":
        """Until every batch of a job is settled; `on_update` is called with each batch that is looked at.

        `progress` shows one bar over all of them, None only on a terminal or in a notebook. SettlementError after
        `timeout` seconds; the job goes on, and stays tracked.
        """
        from batchmeter import Jobs  # noqa: PLC0415 - as above

        return await Jobs(self._whole).wait(job, timeout, on_update, progress=progress, where=account_settings)

    async def results_many(self, report: "JobReport", **account_settings: Any) -> "Results":
        """Every answer of a job in the order of its input, with the cost of all of it."""
        from batchmeter import Jobs  # noqa: PLC0415 - as above

        return await Jobs(self._whole).results(report, account_settings)

    async def retry(
        self,
        batch_id: str,
        *,
        only: Collection[str] = ("failed", "expired", "missing"),
        custom_llm_provider: str | None = None,
        wait_for_room: bool = True,
    ) -> "Retry":
        """Submit the requests of a finished batch that `failed`, `expired` or are `missing` (`only`) again, once.

        `.batch` has them; its metadata names the first batch. UsageError while that is open, or where nothing is left.
        `wait_for_room` as in `create`.
        """
        from batchmeter import Jobs  # noqa: PLC0415 - as above

        return await Jobs(self._whole).retry(batch_id, only, custom_llm_provider, wait_for_room=wait_for_room)

    @property
    def _whole(self) -> "AsyncClient":
        """The client itself: what is built on core may use all of it."""
        return cast("AsyncClient", self._client)

    async def _ended(
        self, batch_id: str, account: str | None, settings: Mapping[str, Any]
    ) -> tuple[Provider, Settlement, str | None]:
        """A settled batch, or one that has ended and is settled now; and the input file that its submission names."""
        known, ledger = id_of("batch_id", batch_id), (await self._client.ready()).ledger
        provider, _ = await self._client.provider_for(account, settings, about=known)
        settled = await self.settlement(known, custom_llm_provider=provider.account)
        if settled is None:
            batch = await self.retrieve(known, provider.account, **settings)
            if not batch.ended:
                raise UsageError(
                    f"batch {known} is {batch.status}: it has results when it has ended; wait for it first"
                )
            settled = await self.wait(known, custom_llm_provider=provider.account, **settings)
        tracked = await ledger.get_batch(settled.batch_id, settled.account)
        return provider, settled, tracked.submission.input_file_id if tracked else None

    async def _observe(self, provider: Provider, batch: Batch) -> Batch:
        from .tracker.metadata_tag import without_tag  # noqa: PLC0415 - as above

        parts = await self._client.ready()
        await parts.tracker.shown(provider, batch)
        return without_tag(batch)
