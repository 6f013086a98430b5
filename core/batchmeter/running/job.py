"""run and arun: write the input file, submit it once however often it is asked, wait, and read the answers."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batchmeter.answers.lines import answers_by_id
from batchmeter.answers.results import Results
from batchmeter.calls.arguments import provider_for
from batchmeter.errors import NotFoundError, SettlementError
from batchmeter.events import Settlement
from batchmeter.faces import api
from batchmeter.faces.client import AsyncClient
from batchmeter.faces.sync import Client
from batchmeter.inputs import COMPATIBLE, InputLimits, limits_of
from batchmeter.jobs.following import next_try
from batchmeter.jobs.jobs import drop_unused, never_began
from batchmeter.jobs.progress import shown
from batchmeter.models import Attribution, Batch
from batchmeter.providers import Provider

from .requests import Lines, Requests, Written, refuse_members, write

if TYPE_CHECKING:
    from batchmeter.calls.waiting import OnUpdate


GOES_ON = "the batch goes on; the same call waits for it again"


def run(
    requests: Requests,
    *,
    model: str | None = None,
    provider: str | None = None,
    endpoint: str = "/v1/chat/completions",
    body: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    completion_window: str = "24h",
    attribution: Attribution | Mapping[str, Any] | None = None,
    timeout: float | None = None,
    progress: bool | None = None,
    again: bool = False,
    using: Client | None = None,
    **account_settings: Any,
) -> Results:
    """Run these requests as one batch; the answers by custom_id, with what they cost.

    `requests`: a list, generator, dict or data frame of texts, messages, bodies, or dicts with `custom_id`; `body` is
    what they all share. `provider` names the account. The same call finds the same batch: interrupt it, call it again,
    and it waits on, or returns what has ended; `again=True` submits anew. `timeout` (seconds) ends the waiting only.
    `progress` None shows a bar on a terminal or in a notebook. Raises InvalidInputError before anything is sent.
    """
    job = Job(
        endpoint, model, provider, metadata, completion_window, attribution, timeout, progress, again, account_settings
    )
    engine = api.engine if using is None else using.engine
    with write(requests, Lines(endpoint, model, body or {}), engine.call(job.limits)) as written:
        try:
            return engine.call(lambda client: job.run(client, written))
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(GOES_ON)
            raise


async def arun(
    requests: Requests,
    *,
    model: str | None = None,
    provider: str | None = None,
    endpoint: str = "/v1/chat/completions",
    body: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    completion_window: str = "24h",
    attribution: Attribution | Mapping[str, Any] | None = None,
    timeout: float | None = None,
    progress: bool | None = None,
    again: bool = False,
    using: AsyncClient | None = None,
    **account_settings: Any,
) -> Results:
    """As `run`. The requests are read in a thread; cancelled, it leaves the batch for the same call to come."""
    job = Job(
        endpoint, model, provider, metadata, completion_window, attribution, timeout, progress, again, account_settings
    )
    limits = await (api.engine.acall(job.limits) if using is None else job.limits(using))
    with await asyncio.to_thread(write, requests, Lines(endpoint, model, body or {}), limits) as written:
        if using is not None:
            return await job.run(using, written)
        return await api.engine.acall(lambda client: job.run(client, written))


@dataclass(frozen=True, slots=True)
class Job:
    """The call's arguments, apart from the requests."""

    endpoint: str
    model: str | None
    account: str | None
    metadata: Mapping[str, str] | None
    completion_window: str
    attribution: Attribution | Mapping[str, Any] | None
    timeout: float | None
    progress: bool | None
    again: bool
    account_settings: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        refuse_members(self.account_settings)

    async def _provider(self, client: AsyncClient) -> Provider:
        return (await provider_for(client, self.account, self.account_settings))[0]

    async def limits(self, client: AsyncClient) -> InputLimits:
        """Limits of one input file at this account."""
        return limits_of(await self._provider(client)) or COMPATIBLE

    async def run(self, client: AsyncClient, written: Written) -> Results:
        with shown(len(written.ids), bar=self.progress) as update:
            if written.many:
                return await self._many(client, written, update)
            batch = await self._batch(client, written)
            settlement = await self._end(client, batch.id, update)
        try:
            found = await answers_by_id(await self._provider(client), settlement.batch)
        except NotFoundError as gone:
            gone.add_note("run(…, again=True) runs the requests anew")
            raise
        return Results(written.ids, found, settlement)

    async def _many(self, client: AsyncClient, written: Written, update: "OnUpdate | None") -> Results:
        """More than the account takes in one batch: several, as one job."""
        job = await client.batches.create_many(
            written.path,
            self.endpoint,
            self.completion_window,
            metadata=self.metadata,
            attribution=self.attribution,
            again=self.again,
            **self._where(),
        )
        report = await client.batches.wait_many(job, timeout=self.timeout, on_update=update, **self.account_settings)
        return await client.batches.results_many(report, **self.account_settings)

    async def _batch(self, client: AsyncClient, written: Written) -> Batch:
        """The newest of this run's batches, unless it is to be run again or that one never began."""
        provider = await self._provider(client)
        ledger = (await client.ready()).ledger
        key, earlier, number = self._key(written, 1), None, 1
        while (intent := await ledger.intent_of(provider.account, key)) is not None:
            number, earlier = number + 1, intent
            key = self._key(written, number)
        if earlier is not None and not self.again:
            batch = await self._create(client, str(earlier.idempotency_key), earlier.submission.input_file_id)
            while never_began(batch, await client.batches.settlement(batch.id, custom_llm_provider=provider.account)):
                following = await next_try(client, provider.account, batch.id)
                if following is None:
                    break
                batch = await client.batches.retrieve(following, **self._where())
            else:
                return batch
        uploaded = await client.files.create(written.path, "batch", **self._where())
        batch = await self._create(client, key, uploaded.id)
        await drop_unused(client, provider.account, key, uploaded.id, self._where())
        return batch

    async def _create(self, client: AsyncClient, key: str, input_file_id: str | None) -> Batch:
        """The batch of this key: the one there is, or a new one."""
        return await client.batches.create(
            input_file_id=input_file_id,
            endpoint=self.endpoint,
            completion_window=self.completion_window,
            metadata=self.metadata,
            model=self.model,
            attribution=self.attribution,
            idempotency_key=key,
            **self._where(),
        )

    async def _end(self, client: AsyncClient, batch_id: str, update: "OnUpdate | None") -> Settlement:
        """Of this batch; or, where a full queue fails it and the account waits for room, of those that follow it."""
        until = None if self.timeout is None else asyncio.get_running_loop().time() + self.timeout
        while True:
            left = None if until is None else max(until - asyncio.get_running_loop().time(), 0.0)
            settlement = await client.batches.wait(batch_id, timeout=left, on_update=update, **self._where())
            if not never_began(settlement.batch, settlement):
                return settlement
            try:
                async with asyncio.timeout_at(until):
                    following = await next_try(client, settlement.account, batch_id)
            except TimeoutError as error:
                raise SettlementError(
                    f"batch {batch_id} failed: the queue was full for {self.timeout:g} s; it is submitted again"
                ) from error
            if following is None:
                return settlement
            batch_id = following

    def _key(self, written: Written, number: int) -> str:
        """The hash of everything that makes it this run, and the how-manieth of its batches it is."""
        text = json.dumps(
            [written.digest, self.endpoint, self.completion_window, self.metadata and dict(self.metadata)]
        )
        return f"run-{hashlib.sha256(text.encode()).hexdigest()[:32]}-{number}"

    def _where(self) -> dict[str, Any]:
        return {"custom_llm_provider": self.account, **self.account_settings}
