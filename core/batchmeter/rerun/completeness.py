"""Whether a finished batch answered everything: each request of its input against its output and error files."""

import asyncio
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum, auto

from batchmeter.answers.lines import Open, input_of, opened_by, requests
from batchmeter.errors import UsageError
from batchmeter.events import Settlement
from batchmeter.inputs.rules import is_embeddings
from batchmeter.ledger.records import progress_of
from batchmeter.metering.envelope import Look, look_for
from batchmeter.metering.lines import LineSplitter, Unreadable
from batchmeter.models import Batch
from batchmeter.providers import Provider
from batchmeter.tracker.build_events import UNAVAILABLE
from batchmeter.tracker.settle import awaited

NAMED = 20
"""Ids that are named; the rest are counted."""
_NEVER_RUN = frozenset({"batch_expired", "batch_cancelled", "expired", "canceled", "cancelled"})
"""Error codes of requests that nobody ran before the batch ended."""
_SLICE = 200
"""Lines between two turns of the event loop: about a millisecond."""


class Fate(Enum):
    """The fate of a request."""

    SUCCEEDED = auto()
    FAILED = auto()
    EXPIRED = auto()
    """Never run: the batch expired or was cancelled first."""
    MISSING = auto()
    """No line in any file."""


@dataclass(slots=True)
class Answers:
    """A batch's answers, by hash of custom_id: some 100 bytes a request, whatever the answers' size."""

    look: Look
    repeats: bool = False
    """A request's line may come again."""
    fates: dict[int, Fate] = field(default_factory=dict[int, Fate])
    doubled: int = 0
    """Lines whose custom_id had one before."""
    doubled_ids: list[str] = field(default_factory=list[str])
    malformed: int = 0
    announced: int = 0
    """Good answers that there are, as far as is known."""

    @property
    def unread(self) -> int:
        """Good answers that the files should have and do not: cut off, or another batch's files."""
        good = sum(fate is Fate.SUCCEEDED for fate in self.fates.values())
        return max(self.announced - good - self.malformed, 0)

    def add(self, raw: bytes | bytearray | Unreadable) -> None:
        if not isinstance(raw, Unreadable) and not raw.strip():
            return
        answer = None if isinstance(raw, Unreadable) else self.look.answer(raw)
        if answer is None or answer.custom_id is None:
            self.malformed += 1
            return
        failure = answer.failure
        fate = Fate.SUCCEEDED if failure is None else Fate.EXPIRED if failure in _NEVER_RUN else Fate.FAILED
        self._put(answer.custom_id, fate)

    def fate(self, custom_id: str | None) -> Fate:
        """Of a request without an id no answer can be told."""
        return Fate.MISSING if custom_id is None else self.fates.get(hash(custom_id), Fate.MISSING)

    def _put(self, custom_id: str, fate: Fate) -> None:
        key = hash(custom_id)
        earlier = self.fates.get(key)
        if earlier is not None and not self.repeats:
            self.doubled += 1
            if len(self.doubled_ids) < NAMED:
                self.doubled_ids.append(custom_id)
        if earlier is not Fate.SUCCEEDED:  # one good answer is enough
            self.fates[key] = fate


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """A finished batch's requests, counted by their end."""

    account: str
    batch_id: str
    status: str
    requests: int
    """Lines of the input."""
    succeeded: int
    failed: int
    expired: int
    """Never run: the batch expired or was cancelled first."""
    missing: int
    """No line in the output or the error file."""
    doubled: int
    """Lines beyond a request's first."""
    foreign: int
    """Answers whose custom_id no request has."""
    malformed: int
    """Answers that cannot be read, or that name no request."""
    unread: int
    """Good answers, by the provider's count, that its files do not have: requests that look missing may be answered."""
    missing_ids: tuple[str, ...]
    """The first twenty."""
    doubled_ids: tuple[str, ...]
    """The first twenty."""

    @property
    def complete(self) -> bool:
        """Every request has exactly one line."""
        return not (self.missing or self.doubled or self.foreign or self.malformed)


async def check(
    provider: Provider, batch: Batch, input_file_id: str | None, settlement: Settlement | None = None
) -> Completeness:
    """Read the answers, then the input. UsageError as `read_answers` or for an unknown input, ProviderErrors as they come."""
    input_of(batch, input_file_id)
    answers = await read_answers(provider, batch, settlement)
    ends, unasked = Counter[Fate](), set(answers.fates)
    missing: list[str] = []
    async with aclosing(requests(provider, batch, input_file_id)) as inputs:
        async for _, custom_id in inputs:
            fate = answers.fate(custom_id)
            ends[fate] += 1
            unasked.discard(hash(custom_id))
            if fate is Fate.MISSING and len(missing) < NAMED:
                missing.append(custom_id or f"(line {ends.total()})")
    return Completeness(
        account=provider.account,
        batch_id=batch.id,
        status=batch.status,
        requests=ends.total(),
        succeeded=ends[Fate.SUCCEEDED],
        failed=ends[Fate.FAILED],
        expired=ends[Fate.EXPIRED],
        missing=ends[Fate.MISSING],
        doubled=answers.doubled,
        foreign=len(unasked),
        malformed=answers.malformed,
        unread=answers.unread,
        missing_ids=tuple(missing),
        doubled_ids=tuple(answers.doubled_ids),
    )


async def read_answers(provider: Provider, batch: Batch, settlement: Settlement | None = None) -> Answers:
    """UsageError while the batch is open, and until its files are listed or its settlement has given them up."""
    if not batch.ended:
        raise UsageError(f"batch {batch.id} is {batch.status}: its requests can be counted when it has ended")
    files = await provider.outputs(batch)
    if settlement is None and awaited(batch, files, progress_of(batch)) == "output_not_listed":
        raise UsageError(f"batch {batch.id}: the provider lists no file with its answers yet: try again in a minute")
    look = look_for(provider.name)
    answers = Answers(look, repeats=look.own.repeats != "no", announced=_announced(provider, batch, settlement))
    for open_file in opened_by(provider, batch, files):
        await _read_file(open_file, answers)
    return answers


def _announced(provider: Provider, batch: Batch, settlement: Settlement | None) -> int:
    """The metered counts, where there are any, after the patience that this takes; else what the provider counts."""
    if provider.capabilities.native_lines and is_embeddings(batch.endpoint):
        return 0  # a vendor's own rows, one for each text of a request
    if settlement is None:
        return batch.request_counts.completed if batch.request_counts else 0
    if UNAVAILABLE in settlement.notes:
        return 0
    return settlement.request_counts.succeeded - settlement.duplicates


async def _read_file(open_file: Open, answers: Answers) -> None:
    splitter = LineSplitter()
    async with open_file() as content:
        async for chunk in content.chunks:
            for number, raw in enumerate(splitter.feed(chunk)):
                answers.add(raw)
                if number % _SLICE == 0:
                    await asyncio.sleep(0)
        for raw in splitter.close():
            answers.add(raw)
