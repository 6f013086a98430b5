"""Batches: made, followed, cancelled, listed, and brought to their results."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from batchmeter.inputs import OPENAI, InputLimits

from . import checks, wire
from .lifecycle import Job, State, state, validated_at
from .records import Records, result_id
from .refusal import Refusal, full, no_batch
from .requests import Requests, refused, validate
from .results import KINDS, Kind, Run, Totals, count, write
from .script import METADATA_KEY, Script

_INLINE_BYTES = 64 * 1024
_INLINE_LINES = 50
"""Up to here a thread would cost more than the work."""

Done = TypeVar("Done")


@dataclass(slots=True)
class Batches:
    """Every batch of one sandbox. Their states follow from the clock; nothing runs in the background."""

    records: Records
    seed: int
    speed: float
    script: Script
    clock: Callable[[], float]
    limits: InputLimits = OPENAI
    _looks: dict[str, int] = field(default_factory=dict[str, int], init=False)
    _validate: Callable[[Path, str, InputLimits], Requests] = field(
        default_factory=lambda: lru_cache(256)(validate), init=False
    )
    _count: Callable[[Run], Totals] = field(default_factory=lambda: lru_cache(4096)(count), init=False)

    async def create(self, body: Mapping[str, Any], script: str | None = None) -> wire.Json:
        """`script` is laid over the sandbox's own, and the batch's metadata over both."""
        if self.records.folder.room() <= 0:
            raise full()
        metadata = checks.metadata(body.get("metadata"))
        fate = Script.parse(script, self.script) if script else self.script
        if metadata and METADATA_KEY in metadata:
            fate = Script.parse(metadata[METADATA_KEY], fate)
        job = Job(
            id="",
            input_file_id=checks.text(body, "input_file_id"),
            endpoint=checks.endpoint(body),
            completion_window=checks.window(body),
            created_at=self.clock(),
            metadata=metadata,
            script=fate,
            output_expires_after=checks.expiry(body.get("output_expires_after"), "output_expires_after"),
        )
        job = replace(job, id=self.records.new_id("batch_"))
        self.records.add_job(job)
        return await self._look(job)

    async def retrieve(self, batch_id: str) -> wire.Json:
        return await self._look(self.job(batch_id))

    async def cancel(self, batch_id: str) -> wire.Json:
        job = self.job(batch_id)
        at = (await self._view(job)).at
        if at.ended_at is not None:
            raise Refusal(409, f"Cannot cancel a batch with status '{at.status}'.")
        if at.status != "cancelling":
            self.records.cancel(batch_id, self.clock())
        return await self._look(self.job(batch_id))

    async def list(self, after: str | None = None, limit: int | str | None = None) -> wire.Json:
        """Newest first, from behind any id."""
        most = checks.limit(limit, 20, 100)
        self.records.refresh()
        end = len(self.records.order) if after is None else self.records.place.get(after, -1)
        if end < 0:
            raise no_batch(str(after))
        ids = self.records.order[max(0, end - most) : end][::-1]
        return wire.page([await self._look(self.records.jobs[one]) for one in ids], has_more=end > most)

    async def totals(self, batch_id: str) -> Totals:
        """The exact sums of an ended batch's files, for tests to compare; all zero while it has none."""
        return (await self._view(self.job(batch_id))).totals or Totals()

    async def result(self, job: Job, kind: Kind, path: Callable[[str], Path]) -> "Result | None":
        """The output or error file, written when it is first asked for; None where there is none (yet)."""
        view = await self._view(job)
        if view.run is None or kind not in self._named(job, view):
            return None
        paths: dict[Kind, Path] = {one: path(result_id(job.id, one)) for one in KINDS}
        ended_at = view.at.ended_at or 0.0
        if not paths[kind].exists():
            run = replace(view.run, job_id=job.id, created=int(ended_at))
            await _work(lambda: write(run, paths), inline=len(run.requests) <= _INLINE_LINES)
        return Result(paths[kind].stat().st_size, ended_at)

    def job(self, batch_id: str) -> Job:
        self.records.refresh()
        if batch_id not in self.records.jobs:
            raise no_batch(batch_id)
        return self.records.jobs[batch_id]

    async def _look(self, job: Job) -> wire.Json:
        """Shows it to a caller; an ended batch that lags names its files only after some looks."""
        view = await self._view(job)
        if job.script.lag and view.totals is not None:
            self._looks[job.id] = self._looks.get(job.id, 0) + 1
        return wire.batch(job, view.at, view.requests, view.totals, self._named(job, view))

    async def _view(self, job: Job) -> "_View":
        now = self.clock()
        if now < validated_at(job, self.speed):
            return _View(state(job, now, self.speed, valid=True))
        requests = await self._requests(job)
        at = state(job, now, self.speed, valid=requests.problem is None)
        if at.ended_at is None or at.status == "failed":
            return _View(at, requests)
        run = Run(requests, job.endpoint, job.script, self.seed, at.share, at.status)
        totals = await _work(lambda: self._count(run), inline=len(requests) <= _INLINE_LINES)
        return _View(at, requests, run, totals)

    async def _requests(self, job: Job) -> Requests:
        """The input file, validated."""
        upload = self.records.uploads.get(job.input_file_id)
        path = self.records.folder.content(job.input_file_id)
        if upload is None or upload.purpose != "batch":
            return refused(path, "invalid_request", f"Invalid file_id: {job.input_file_id}", "file_id")
        if job.script.outcome == "failed":
            return refused(path, "token_limit_exceeded", "Enqueued token limit reached for this organization.")
        return await _work(
            lambda: self._validate(path, job.endpoint, self.limits), inline=upload.bytes <= _INLINE_BYTES
        )

    def _named(self, job: Job, view: "_View") -> frozenset[Kind]:
        """The result files that an ended batch has, and by now tells of."""
        totals = view.totals
        if totals is None or (job.script.lag and self._looks.get(job.id, 0) <= job.script.lag):
            return frozenset()
        has: dict[Kind, int] = {"output": totals.succeeded + totals.malformed, "error": totals.failed}
        return frozenset(kind for kind, lines in has.items() if lines)


@dataclass(frozen=True, slots=True)
class _View:
    """A batch at one instant."""

    at: State
    requests: Requests | None = None
    """Once validation is over."""
    run: Run | None = None
    totals: Totals | None = None
    """Both once it has ended with files."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result file that has been written."""

    size: int
    ended_at: float


async def _work(work: Callable[[], Done], *, inline: bool) -> Done:
    """Small work is done at once, large work off the event loop."""
    return work() if inline else await asyncio.to_thread(work)
