"""The requests of a finished batch that got no good answer, submitted again as a new batch that names the first."""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import IO, cast

from batchmeter.answers.lines import input_of, requests
from batchmeter.calls.batches import BatchCalls
from batchmeter.calls.files import AsyncFiles
from batchmeter.calls.submission import submission_of
from batchmeter.errors import BatchmeterError, ProviderError, UsageError, made_nothing
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Intent, Submission, TrackedBatch
from batchmeter.models import Batch, FileObject
from batchmeter.providers import BatchRequest, CallOptions, Provider, waits_for_room
from batchmeter.runtime.resubmit import next_key, submit_kept
from batchmeter.runtime.runtime import Runtime
from batchmeter.tracker.metadata_tag import RETRY_OF, without_tag
from batchmeter.tracker.rows import with_id

from .completeness import Answers, Fate, read_answers

REASONS = {"failed": Fate.FAILED, "expired": Fate.EXPIRED, "missing": Fate.MISSING}
"""Why a request may want another try: answered with an error; never run; without any line."""
_BLOCK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Retry:
    """A batch with the rest of another one."""

    batch: Batch
    """The new one; the last of them where earlier calls had made several."""
    requests: int
    """Submitted now: none where earlier calls had submitted all of them."""
    before: Mapping[str, str] = field(default_factory=dict[str, str])
    """Reason -> the batch in which an earlier call, or a tracker, had submitted those requests."""

    @property
    def new(self) -> bool:
        """Whether this call submitted anything."""
        return self.requests > 0


@dataclass(frozen=True, slots=True)
class _First:
    """The batch whose rest is wanted."""

    client: Runtime
    ledger: Ledger
    provider: Provider
    batch: Batch
    tracked: TrackedBatch | None
    wait: bool
    """Whether a submission waits for room in a full queue."""

    @property
    def submission(self) -> Submission | None:
        return self.tracked.submission if self.tracked else None

    @property
    def input_file_id(self) -> str | None:
        return self.submission.input_file_id if self.submission else None


async def retry(
    client: Runtime,
    batch_id: str,
    *,
    only: Collection[str] = tuple(REASONS),
    custom_llm_provider: str | None = None,
    wait_for_room: bool = True,
) -> Retry:
    """Submit what is left of a finished batch, once: what an earlier call has submitted is not submitted again.

    Endpoint, metadata and attribution are those of the first. UsageError while it is open, or when nothing is left.
    """
    only = tuple(dict.fromkeys(only))
    provider = await client.provider(custom_llm_provider, {}, about=batch_id)
    first = await _looked_up(client, provider, batch_id, wait=wait_for_room)
    made = await _made_before(first, only)
    while left := [reason for reason in only if reason not in made]:
        before = {reason: batch.id for reason, batch in made.items()}
        rest = await _upload_rest(first, left)
        if rest is None:
            break
        batch = await _submit_rest(first, rest, left)
        if batch.input_file_id == rest.file.id:
            return Retry(batch, rest.requests, before)
        # Another call was faster, with these reasons or with some of them.
        await AsyncFiles(client).delete(rest.file.id, custom_llm_provider=first.provider.account)
        earlier, made = made, await _made_before(first, only)
        if len(made) == len(earlier):  # its answer is not what the ledger has: a gateway's other id
            made |= dict.fromkeys(left, batch)
    if not made:
        raise UsageError(f"batch {batch_id}: nothing to retry: no request is {' or '.join(only)}")
    return Retry(list(made.values())[-1], 0, {reason: batch.id for reason, batch in made.items()})


async def _looked_up(client: Runtime, provider: Provider, batch_id: str, *, wait: bool) -> _First:
    """Under the account and the id that the ledger knows: a gateway has two ids of it, two accounts may see it."""
    parts = await client.ready()
    shown = await provider.retrieve_batch(batch_id, CallOptions())
    await parts.tracker.shown(provider, shown)
    tracked = await parts.tracker.rows.tracked(provider, shown)
    if tracked is None:
        return _First(client, parts.ledger, provider, without_tag(shown), None, wait)
    if tracked.account in client.accounts.names():
        provider = client.accounts.get(tracked.account)
    return _First(client, parts.ledger, provider, without_tag(with_id(shown, tracked.batch_id)), tracked, wait)


async def _made_before(first: _First, only: Collection[str]) -> dict[str, Batch]:
    """By reason, the oldest first: the batches that have those requests already."""
    intents: dict[str, Intent] = {}
    for key, reasons in _keys(first.batch.id).items():
        if intent := await first.ledger.intent_of(first.provider.account, key):
            intents |= dict.fromkeys(reasons, intent)
    if intent := await _next_try(first.ledger, first.tracked):
        intents = dict.fromkeys(REASONS, intent)
    wanted = sorted((reason for reason in only if reason in intents), key=lambda reason: intents[reason].created_at)
    return {reason: await _made_by(first, intents[reason]) for reason in wanted}


async def _made_by(first: _First, intent: Intent) -> Batch:
    """Its batch, or the last of those that followed it when the queue was full. A lost answer is looked for."""
    if intent.batch_id is None:
        return await _submit(first, intent.submission, intent.idempotency_key)
    tracked = await first.ledger.get_batch(intent.batch_id, first.provider.account)
    if tracked is None:
        return await BatchCalls(first.client).retrieve(intent.batch_id, custom_llm_provider=first.provider.account)
    followed = await _next_try(first.ledger, tracked)
    return without_tag(tracked.batch) if followed is None else await _made_by(first, followed)


async def _next_try(ledger: Ledger, tracked: TrackedBatch | None) -> Intent | None:
    """The intent with which a tracker submitted the batch again, whole, because the queue was full."""
    if tracked is None or tracked.submission.again is None:
        return None
    return await ledger.intent_of(tracked.account, next_key(tracked))


def _key(batch_id: str, reasons: Collection[str]) -> str:
    return f"{RETRY_OF}:{batch_id}:{'+'.join(sorted(reasons))}"


def _keys(batch_id: str) -> dict[str, frozenset[str]]:
    """Idempotency key -> the reasons of its requests, for all that retries of a batch can have."""
    choices = [frozenset(some) for size in range(1, len(REASONS) + 1) for some in combinations(REASONS, size)]
    return {_key(batch_id, reasons): reasons for reasons in choices}


def _rivals(batch_id: str, key: str | None) -> tuple[str, ...]:
    """The other keys whose creates send some of the same requests."""
    keys = _keys(batch_id)
    mine = keys.pop(key, frozenset[str]()) if key else frozenset[str]()
    return tuple(other for other, reasons in keys.items() if reasons & mine)


def _key_of_rest(first: _First, reasons: Collection[str]) -> str:
    """Where a tracker submits such a batch again itself, its key: whichever of the two is first, is the only one."""
    queue, tracked = waits_for_room(first.provider), first.tracked
    if queue is None or tracked is None or tracked.submission.again is None:
        return _key(first.batch.id, reasons)
    full = queue.queue_pause(first.batch, 0) is not None
    return next_key(tracked) if full else _key(first.batch.id, reasons)


async def _submit_rest(first: _First, rest: "_Rest", reasons: Collection[str]) -> Batch:
    """The uploaded file does not outlive a create that made nothing."""
    before = first.submission
    metadata = {**((before.metadata if before else first.batch.metadata) or {}), RETRY_OF: first.batch.id}
    request = BatchRequest(rest.file.id, rest.endpoint, metadata=metadata, model=before.model if before else None)
    submission = submission_of(first.provider, request, before.attribution if before else None, None, None)
    try:
        return await _submit(first, submission, _key_of_rest(first, reasons))
    except BatchmeterError as error:
        if not isinstance(error, ProviderError) or made_nothing(error):
            await _delete(first, rest.file, error)
        raise


async def _delete(first: _First, file: FileObject, error: BatchmeterError) -> None:
    try:
        await AsyncFiles(first.client).delete(file.id, custom_llm_provider=first.provider.account)
    except ProviderError as problem:
        error.add_note(f"its input file {file.id} could not be deleted: {problem}")


async def _submit(first: _First, submission: Submission, key: str | None) -> Batch:
    provider, window = first.provider, first.batch.completion_window or "24h"
    parts, tag = await first.client.ready(), first.client.accounts.tags(first.provider.account)
    rivals = _rivals(first.batch.id, key)
    return await submit_kept(parts, provider, submission, window, key, tag=tag, rivals=rivals, wait=first.wait)


@dataclass(slots=True)
class _Rest:
    """The rest of a batch, uploaded."""

    file: FileObject
    requests: int
    endpoint: str


async def _upload_rest(first: _First, reasons: Collection[str]) -> _Rest | None:
    """None where nothing is. By way of a file on disk, so that an upload can be repeated and memory stays flat."""
    input_of(first.batch, first.input_file_id)
    settled = await first.ledger.settlement(first.batch.id, first.provider.account)
    answers = await read_answers(first.provider, first.batch, settled[0] if settled else None)
    with tempfile.TemporaryDirectory(prefix="batchmeter-retry-") as folder:
        path = Path(folder, f"retry-of-{Path(first.batch.id).name}.jsonl")
        with await asyncio.to_thread(path.open, "wb") as rest:
            count = await _keep(first, answers, {REASONS[reason] for reason in reasons}, rest)
        if not count:
            return None
        endpoint = (
            first.batch.endpoint or (first.submission.endpoint if first.submission else None) or await _endpoint(path)
        )
        account = first.provider.account
        file = await AsyncFiles(first.client).create(file=path, purpose="batch", custom_llm_provider=account)
    return _Rest(file, count, endpoint)


async def _endpoint(path: Path) -> str:
    """The one that the requests name themselves: some services show none of a batch that others made."""
    with await asyncio.to_thread(path.open, "rb") as requests:
        line: object = json.loads(await asyncio.to_thread(requests.readline))
    url = cast("dict[str, object]", line).get("url") if isinstance(line, dict) else None
    if not isinstance(url, str):
        raise UsageError("neither the batch nor its requests name an endpoint")
    return url


async def _keep(first: _First, answers: Answers, wanted: Collection[Fate], rest: IO[bytes]) -> int:
    """Copy the wanted lines of the input as they are; returns how many. UsageError where it cannot be told which."""
    kept, block, unasked = Counter[Fate](), bytearray(), set(answers.fates)
    async with aclosing(requests(first.provider, first.batch, first.input_file_id)) as inputs:
        async for line, custom_id in inputs:
            fate = answers.fate(custom_id)
            unasked.discard(hash(custom_id))
            if fate in wanted and custom_id is None:
                raise UsageError(
                    f"batch {first.batch.id}: requests without a custom_id: nobody can tell which were answered"
                )
            if fate in wanted:
                kept[fate] += 1
                block += line + b"\n"
            if len(block) > _BLOCK:
                await asyncio.to_thread(rest.write, bytes(block))
                block.clear()
    rest.write(block)
    if kept[Fate.MISSING]:
        _check_missing(first.batch.id, answers.unread, len(unasked))
    return kept.total()


def _check_missing(batch_id: str, unread: int, foreign: int) -> None:
    """Nothing is asked, and paid for, again because its answer was not read."""
    others = "; --only failed and --only expired retry the others"
    if unread:
        raise UsageError(
            f"batch {batch_id}: its provider counts {unread} answers more than its files have, so that requests without"
            f" one may be answered: try again when it is settled, which tells{others}"
        )
    if foreign:
        raise UsageError(
            f"batch {batch_id}: {foreign} answers are to no request of its input, so that requests without one may be"
            f" answered{others}"
        )
