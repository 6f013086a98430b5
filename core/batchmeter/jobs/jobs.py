"""Jobs: an input file of any size, split by its provider's limits into batches that belong together."""

import asyncio
import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from batchmeter.access import SeenBatch
from batchmeter.answers.lines import answers_by_id
from batchmeter.answers.result import Result
from batchmeter.answers.results import Results, summed
from batchmeter.calls.arguments import provider_for
from batchmeter.calls.batches import BatchCalls
from batchmeter.calls.files import AsyncFiles
from batchmeter.errors import ProviderError, SettlementError, UsageError
from batchmeter.events import Settlement
from batchmeter.inputs import COMPATIBLE, InputLimits, check_path, limits_of
from batchmeter.inputs.rules import count_inputs, is_embeddings
from batchmeter.models import Attribution, Batch, Cost, LineCounts
from batchmeter.runtime.runtime import Runtime

from .following import next_try
from .job_batches import anew_key, batches_of, note_parts
from .progress import shown

log = logging.getLogger("batchmeter")

QUEUE_FULL = "token_limit_exceeded"
"""OpenAI's code of a batch that failed because too many tokens wait already."""
PAUSE = 60.0
"""Seconds until a batch that a full queue has failed is submitted again, where no other batch of the job ends before."""
PATIENCE = 24 * 3600.0
"""Seconds of such pauses until it counts as failed."""


@dataclass(frozen=True, slots=True)
class Job:
    """Batches that are one job: `costs --where job=ID` has their sum."""

    id: str
    """Its name, or the hash of its content."""
    account: str
    """The account that has all of its batches."""
    batches: tuple[Batch, ...]
    """In the order in which the input was split, as they were when they were submitted."""
    ids: tuple[str, ...] = field(repr=False)
    """The custom_ids in the order of the input."""

    @property
    def tag(self) -> str:
        """The tag in the attribution of each batch."""
        return tag_of(self.id)


@dataclass(frozen=True, slots=True)
class JobReport:
    """A job's batches when all have ended."""

    job: Job
    """The job that has ended."""
    settlements: tuple[Settlement, ...]
    """One for each of its batches, in their order."""

    @property
    def status(self) -> str:
        """`completed`, or the first other one."""
        return next((one.status for one in self.settlements if one.status != "completed"), "completed")

    @property
    def request_counts(self) -> LineCounts:
        """Summed over its batches."""
        names = LineCounts.model_fields
        return LineCounts(
            **{name: sum(getattr(one.request_counts, name) for one in self.settlements) for name in names}
        )

    @property
    def cost(self) -> Cost:
        """Summed over its batches; unknown as soon as one is."""
        return summed(self.settlements)


def tag_of(job_id: str) -> str:
    return f"job:{job_id}"


@dataclass(frozen=True, slots=True)
class Order:
    """The common part of all batches of a job."""

    endpoint: str
    completion_window: str
    metadata: Mapping[str, str] | None
    attribution: Attribution | None
    where: Mapping[str, Any] = field(repr=False)
    """Account and its settings for this call."""


class Jobs:
    """Submits and follows jobs by a client's calls: `client.batches.create_many` and those beside it."""

    def __init__(self, client: Runtime) -> None:
        self._client = client
        self._files = AsyncFiles(client)
        self._batches = BatchCalls(client)

    async def create(
        self,
        file: str | os.PathLike[str],
        endpoint: str,
        completion_window: str,
        metadata: Mapping[str, str] | None,
        *,
        job: str | None,
        again: bool,
        attribution: Attribution,
        where: Mapping[str, Any],
    ) -> Job:
        """Each part is submitted once: repeated after a crash, this goes on where it stopped."""
        settings = {name: value for name, value in where.items() if name != "custom_llm_provider"}
        provider, _ = await provider_for(self._client, where.get("custom_llm_provider"), settings)
        limits = limits_of(provider) or COMPATIBLE
        with tempfile.TemporaryDirectory(prefix="batchmeter-job-") as folder:
            whole, parts, ids = await asyncio.to_thread(split, Path(file), Path(folder), endpoint, limits)
            text = f"{whole}:{endpoint}:{completion_window}:{sorted((metadata or {}).items())}"
            job_id = job or hashlib.sha256(text.encode()).hexdigest()[:16]
            named = attribution.model_copy(update={"tags": (*attribution.tags, tag_of(job_id))})
            order = Order(endpoint, completion_window, metadata, named, where)
            keys = [f"job-{job_id}-{digest[:24]}" for _, digest in parts]
            await note_parts((await self._client.ready()).ledger, provider.account, job_id, keys)
            batches = [
                await self._create(provider.account, part, key, order, again=again)
                for (part, _), key in zip(parts, keys, strict=True)
            ]
        return Job(job_id, provider.account, tuple(batches), ids)

    async def batches_of(self, job_id: str, account: str) -> list[SeenBatch]:
        """All batches of a job, in the order of its input, each with its newest settlement; none for no job."""
        return await batches_of((await self._client.ready()).ledger, account, job_id)

    async def _create(self, account: str, part: Path, key: str, order: Order, *, again: bool) -> Batch:
        """The newest batch of this part; a new one where it has none, is run again, or never began."""
        ledger, number, earlier = (await self._client.ready()).ledger, 1, None
        while (intent := await ledger.intent_of(account, f"{key}-{number}")) is not None:
            number, earlier = number + 1, intent
        if earlier is None or again:
            uploaded = await self._files.create(part, "batch", **order.where)
            batch = await self._submit(f"{key}-{number}", uploaded.id, order)
            await drop_unused(self._client, account, f"{key}-{number}", uploaded.id, order.where)
            return batch
        batch = await self._submit(f"{key}-{number - 1}", earlier.submission.input_file_id, order)
        while never_began(batch, await self._batches.settlement(batch.id, custom_llm_provider=account)):
            batch = await self._anew(account, batch.id, order.where)
        return batch

    async def _submit(self, key: str, input_file_id: str | None, order: Order) -> Batch:
        return await self._batches.create(
            order.completion_window,
            order.endpoint,
            input_file_id,
            metadata=order.metadata,
            attribution=order.attribution,
            idempotency_key=key,
            **order.where,
        )

    async def _anew(self, account: str, batch_id: str, where: Mapping[str, Any]) -> Batch:
        """The batch that follows one that never began, once however many ask; of the tracker's or a new one."""
        parts = await self._client.ready()
        following = await next_try(self._client, account, batch_id)
        if following is not None:
            return await self._batches.retrieve(following, **where)
        tracked = await parts.ledger.get_batch(batch_id, account)
        if tracked is None:
            raise UsageError(f"batch {batch_id} is no longer in this ledger: submit its job under another name")
        submission = tracked.submission
        order = Order(
            submission.endpoint or "",
            tracked.batch.completion_window or "24h",
            submission.metadata,
            submission.attribution,
            where,
        )
        return await self._submit(anew_key(batch_id), submission.input_file_id, order)

    async def wait(
        self,
        job: Job,
        timeout: float | None,
        on_update: Callable[[Batch], object] | None,
        *,
        progress: bool | None,
        where: Mapping[str, Any],
    ) -> JobReport:
        """All of its batches at once. SettlementError where they take longer; they go on, and stay tracked."""
        ended = asyncio.Event()
        with shown(len(job.ids), on_update, bar=progress) as update:
            work = [asyncio.create_task(self._end(job, one.id, ended, update, where)) for one in job.batches]
            try:
                async with asyncio.timeout(timeout):
                    return JobReport(job, tuple(await asyncio.gather(*work)))
            except TimeoutError:
                raise SettlementError(
                    f"job {job.id} did not end in {timeout:g} s; it goes on and stays tracked, wait again"
                ) from None
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)

    async def _end(
        self,
        job: Job,
        batch_id: str,
        ended: asyncio.Event,
        on_update: Callable[[Batch], object] | None,
        where: Mapping[str, Any],
    ) -> Settlement:
        """Of this batch; or of those that follow it, while too many tokens wait in the provider's queue."""
        known: dict[str, Any] = {**where, "custom_llm_provider": job.account}
        pause, left = PAUSE, PATIENCE
        while True:
            settled = await self._batches.wait(batch_id, on_update=on_update, **known)
            if left <= 0 or not (never_began(settled.batch, settled) and is_queue_full(settled.batch)):
                ended.set()
                return settled
            ended.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await ended.wait()
            pause, left = min(pause * 2, 16 * PAUSE), left - pause
            batch_id = (await self._anew(job.account, batch_id, known)).id

    async def results(self, report: JobReport, where: Mapping[str, Any]) -> Results:
        """Every answer of the job in the input's order."""
        found: dict[str, Result] = {}
        settings = {name: value for name, value in where.items() if name != "custom_llm_provider"}
        provider, _ = await provider_for(self._client, report.job.account, settings)
        for settled in report.settlements:
            found |= await answers_by_id(provider, settled.batch)
        return Results(report.job.ids, found, *report.settlements)


async def drop_unused(client: Runtime, account: str, key: str, file_id: str, where: Mapping[str, Any]) -> None:
    """Delete an input file that another process' create with this key, at the same moment, has left without use."""
    intent = await (await client.ready()).ledger.intent_of(account, key)
    if intent is None or intent.submission.input_file_id in {None, file_id, file_id.partition("?")[0]}:
        return
    try:
        await AsyncFiles(client).delete(file_id, **where)
    except (ProviderError, UsageError) as error:
        log.warning("input file %s is of no use and could not be deleted: %s", file_id, error)


def never_began(batch: Batch, settlement: Settlement | None) -> bool:
    """Refused as a whole (a limit, an input rule): nothing ran, nothing was billed."""
    ended = settlement.batch if settlement is not None else batch
    return ended.status == "failed" and ended.output_file_id is None and ended.error_file_id is None


def is_queue_full(batch: Batch) -> bool:
    return any(error.code == QUEUE_FULL for error in (batch.errors.data if batch.errors else ()))


@dataclass(slots=True)
class _Part:
    """One output of the splitting, while it is written."""

    path: Path
    file: IO[bytes]
    digest: Any = field(default_factory=hashlib.sha256)
    lines: int = 0
    size: int = 0
    inputs: int = 0

    def has_room(self, size: int, inputs: int, limits: InputLimits) -> bool:
        return (
            self.lines < limits.lines
            and self.size + size <= limits.bytes
            and self.inputs + inputs <= limits.embedding_inputs
        )

    def add(self, line: bytes, inputs: int) -> None:
        self.file.write(line)
        self.digest.update(line)
        self.lines += 1
        self.size += len(line)
        self.inputs += inputs


def boundless(limits: InputLimits) -> InputLimits:
    """The rules of single lines alone."""
    endless = sys.maxsize
    return replace(limits, bytes=endless, lines=endless, embedding_inputs=endless, one_model=False)


def split(
    path: Path, folder: Path, endpoint: str, limits: InputLimits
) -> tuple[str, list[tuple[Path, str]], tuple[str, ...]]:
    """SHA-256 of the whole, the parts in `folder` with theirs, and the custom_ids; UsageError for what a line breaks.

    A part has at most the limits' lines, bytes and embedding inputs, and one model where files may have one only.
    """
    check_path(path, endpoint, boundless(limits)).check(str(path))
    whole, ids, made = hashlib.sha256(), list[str](), list[_Part]()
    open_parts: dict[str | None, _Part] = {}
    with ExitStack() as files, path.open("rb") as source:
        for raw in source:
            if not raw.strip():
                continue
            line = raw if raw.endswith(b"\n") else raw + b"\n"
            whole.update(line)
            request: Any = json.loads(line)  # as tolerant as the check of lines
            ids.append(request["custom_id"])
            inputs = count_inputs(request["body"].get("input")) if is_embeddings(endpoint) else 0
            model = request["body"].get("model") if limits.one_model else None
            part = open_parts.get(model)
            if part is None or not part.has_room(len(line), inputs, limits):
                if part is not None:
                    part.file.close()
                where = folder / f"{path.stem}-{len(made) + 1}.jsonl"
                part = open_parts[model] = _Part(where, files.enter_context(where.open("wb")))
                made.append(part)
            part.add(line, inputs)
    return whole.hexdigest(), [(part.path, part.digest.hexdigest()) for part in made], tuple(ids)
