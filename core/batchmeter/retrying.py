"""The requests of a finished batch that got no good answer, submitted again as a new batch that names the first."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Collection
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .errors import UsageError
from .models import Batch, FileObject
from .tracking.completeness import Answers, Fate, read_answers, requests
from .tracking.tag import RETRY_OF

if TYPE_CHECKING:
    from .client import AsyncClient
    from .providers import Provider

REASONS = {"failed": Fate.FAILED, "expired": Fate.EXPIRED, "missing": Fate.MISSING}
"""Why a request may want another try: answered with an error; never run; without any line."""
_BLOCK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Retry:
    """A batch with the rest of another one."""

    batch: Batch
    requests: int
    new: bool
    """False when an earlier call had made it."""


async def retry(
    client: "AsyncClient",
    batch_id: str,
    *,
    only: Collection[str] = tuple(REASONS),
    custom_llm_provider: str | None = None,
) -> Retry:
    """Submit what is left of a finished batch; the same call again gives the same batch.

    Endpoint, metadata and attribution are those of the first. UsageError while it is open, or when nothing is left.
    """
    parts = await client.ready()
    provider = await client.provider(custom_llm_provider, {}, about=batch_id)
    first = await client.batches.retrieve(batch_id, custom_llm_provider=provider.account)
    tracked = await parts.ledger.get_batch(batch_id, provider.account)
    told = tracked.submission if tracked else None
    settled = await parts.ledger.settlement(batch_id, provider.account)
    answers = await read_answers(provider, first, settled[0] if settled else None)
    file, count = await _upload_rest(client, provider, first, told.input_file_id if told else None, answers, only)
    batch = await client.batches.create(
        input_file_id=file.id,
        endpoint=first.endpoint or (told.endpoint if told else None) or "",
        completion_window=first.completion_window or "24h",
        metadata={**((told.metadata if told else first.metadata) or {}), RETRY_OF: batch_id},
        model=told.model if told else None,
        attribution=told.attribution if told else None,
        idempotency_key=f"{RETRY_OF}:{batch_id}:{'+'.join(sorted(only))}",
        custom_llm_provider=provider.account,
    )
    new = batch.input_file_id == file.id
    if not new:
        await client.files.delete(file.id, custom_llm_provider=provider.account)
    return Retry(batch, count, new)


async def _upload_rest(
    client: "AsyncClient",
    provider: "Provider",
    first: Batch,
    input_file_id: str | None,
    answers: Answers,
    only: Collection[str],
) -> tuple[FileObject, int]:
    """By way of a file on disk, so that an upload can be repeated and memory stays flat."""
    with tempfile.TemporaryDirectory(prefix="batchmeter-retry-") as folder:
        path = Path(folder, f"retry-of-{Path(first.id).name}.jsonl")
        with await asyncio.to_thread(path.open, "wb") as rest:
            count = await _keep(provider, first, input_file_id, answers, {REASONS[reason] for reason in only}, rest)
        if not count:
            raise UsageError(f"batch {first.id}: nothing to retry: no request is {' or '.join(only)}")
        file = await client.files.create(file=path, purpose="batch", custom_llm_provider=provider.account)
    return file, count


async def _keep(
    provider: "Provider",
    first: Batch,
    input_file_id: str | None,
    answers: Answers,
    wanted: Collection[Fate],
    rest: IO[bytes],
) -> int:
    """Copy the wanted lines of the input as they are; returns how many. UsageError where it cannot be told which."""
    kept, block, unasked = Counter[Fate](), bytearray(), set(answers.fates)
    async with aclosing(requests(provider, first, input_file_id)) as asked:
        async for line, custom_id in asked:
            fate = answers.fate(custom_id)
            unasked.discard(hash(custom_id))
            if fate in wanted and custom_id is None:
                raise UsageError(f"batch {first.id}: requests without a custom_id: nobody can tell which were answered")
            if fate in wanted:
                kept[fate] += 1
                block += line + b"\n"
            if len(block) > _BLOCK:
                await asyncio.to_thread(rest.write, bytes(block))
                block.clear()
    rest.write(block)
    if kept[Fate.MISSING]:
        _check_missing(first.id, answers.unread, len(unasked))
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
