"""AsyncClient: files and batches at any account, each call seen by the ledger, events delivered while it is open."""

import datetime as dt
import os
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import Any

from batchmeter.answers.result import Result
from batchmeter.answers.results import Results
from batchmeter.calls.arguments import attribution_of, id_of, provider_for
from batchmeter.calls.batches import BatchCalls
from batchmeter.calls.files import AsyncFiles
from batchmeter.errors import UsageError
from batchmeter.events import Settlement
from batchmeter.jobs.jobs import Job, JobReport, Jobs
from batchmeter.models import Attribution, Batch
from batchmeter.providers import Provider
from batchmeter.rerun.rerun import Retry, retry
from batchmeter.runtime.runtime import Runtime
from batchmeter.spend.report import CostReport, GroupBy, moment
from batchmeter.spend.spend import spend_of


class AsyncBatches(BatchCalls):
    """Batches at any account; the common arguments are those of `AsyncFiles`."""

    async def results(
        self, batch_id: str, *, requests: bool = False, custom_llm_provider: str | None = None, **account_settings: Any
    ) -> Results:
        """Every answer of an ended batch by custom_id, in memory, with what it cost.

        In the order of its files; with `requests` in the input's order, each with its request, and with an error for
        those without an answer. UsageError while the batch is open; NotFoundError where its files are gone.
        """
        known = await self._ended(batch_id, custom_llm_provider, account_settings)
        return await Results.read(*known, requests=requests)

    async def iter_results(
        self, batch_id: str, *, requests: bool = False, custom_llm_provider: str | None = None, **account_settings: Any
    ) -> AsyncGenerator[Result]:
        """Like `results`, but one at a time, however many there are; a request with two answers gives both."""
        known = await self._ended(batch_id, custom_llm_provider, account_settings)
        async with aclosing(Results.stream(*known, requests=requests)) as results:
            async for result in results:
                yield result

    async def iter_lines(
        self, batch_id: str, *, requests: bool = False, custom_llm_provider: str | None = None, **account_settings: Any
    ) -> AsyncGenerator[bytes]:
        """As `iter_results`, each line of the files as the provider wrote it; with `requests`, `request` is added."""
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
    ) -> Job:
        """Submit an input file of any size as the batches that its provider's limits ask for: lines, bytes, models.

        The same call submits nothing twice: after a crash it goes on where it stopped; `again` submits all anew. `job`
        names it, by default the hash of its content. InvalidInputError before anything is sent.
        """
        whose, given = attribution_of(attribution), {"custom_llm_provider": custom_llm_provider, **account_settings}
        return await Jobs(self._client).create(
            file, endpoint, completion_window, metadata, job=job, again=again, attribution=whose, where=given
        )

    async def wait_many(
        self,
        job: Job,
        *,
        timeout: float | None = None,
        on_update: Callable[[Batch], object] | None = None,
        progress: bool | None = False,
        **account_settings: Any,
    ) -> JobReport:
        """Wait until every batch of a job is settled; `on_update` is called with each batch that is looked at.

        `progress` shows one bar over all of them, None only on a terminal or in a notebook. SettlementError after
        `timeout` seconds; the job goes on, and stays tracked.
        """
        return await Jobs(self._client).wait(job, timeout, on_update, progress=progress, where=account_settings)

    async def results_many(self, report: JobReport, **account_settings: Any) -> Results:
        """Every answer of a job in the order of its input, with the cost of all of it."""
        return await Jobs(self._client).results(report, account_settings)

    async def retry(
        self,
        batch_id: str,
        *,
        only: Collection[str] = ("failed", "expired", "missing"),
        custom_llm_provider: str | None = None,
        wait_for_room: bool = True,
    ) -> Retry:
        """Submit the requests of a finished batch that `failed`, `expired` or are `missing` (`only`) again, once.

        `.batch` has them; its metadata names the first batch. UsageError while that is open, or where nothing is left.
        `wait_for_room` as in `create`.
        """
        return await retry(
            self._client,
            batch_id,
            only=only,
            custom_llm_provider=custom_llm_provider,
            wait_for_room=wait_for_room,
        )

    async def _ended(
        self, batch_id: str, account: str | None, settings: Mapping[str, Any]
    ) -> tuple[Provider, Settlement, str | None]:
        """A settled batch, or one that has ended and is settled now; and the input file that its submission names."""
        known, ledger = id_of("batch_id", batch_id), (await self._client.ready()).ledger
        provider, _ = await provider_for(self._client, account, settings, about=known)
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


class AsyncClient(Runtime):
    """One ledger, the configured accounts and the enabled loggers.

    `settings` is used as it is; else the environment and `config` (or batchmeter.toml) are read, with the other
    arguments on top. `plugins` are extra objects with hookimpls; the ledger knows them by their class and its module, or by
    the names of a mapping. Opens on first use; close it, or use `async with`.
    """

    @cached_property
    def files(self) -> AsyncFiles:
        """Upload, look up, list, download and delete files."""
        return AsyncFiles(self)

    @cached_property
    def batches(self) -> AsyncBatches:
        """Submit, follow, cancel, list and await batches; their answers; jobs of many."""
        return AsyncBatches(self)

    async def costs(
        self,
        *,
        group_by: GroupBy | str | Sequence[str] = "model",
        since: dt.date | str | None = None,
        until: dt.date | str | None = None,
        where: Mapping[str, str | None] | None = None,
    ) -> CostReport:
        """The cost of batches settled in this time, by one or two of `model`, `account`, `provider`, `key`, `team`, `user`,
        `tag`, `job`, `status`, `metadata.KEY` (of a key that `[reports] metadata_keys` names), and `day`, `week` or `month`.

        `where={"team": "search"}` counts only what has that name, None what has none. Times are dates, datetimes or ISO 8601 texts, UTC unless they say otherwise; `until` a date means all of it.
        """
        start = moment(None if since is None else str(since))
        end = moment(None if until is None else str(until), end=True)
        spend = spend_of(await self.ready())
        return await spend.report(group_by=group_by, since=start, until=end, where=where)
