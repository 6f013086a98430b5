"""Finds the batches of a job by the note of its parts in the ledger, and the successors of batches that never began."""

import json
from collections.abc import AsyncGenerator, Sequence

from batchmeter.access import SeenBatch
from batchmeter.ledger.claims import keep_answer
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.session import Session
from batchmeter.models import Batch
from batchmeter.runtime.resubmit import next_key

_SCOPE = "job"


async def note_parts(ledger: Ledger, account: str, job_id: str, parts: Sequence[str]) -> None:
    """`parts`: the beginning of each one's idempotency keys; those of earlier calls stay noted."""
    name = _name(account, job_id)

    async def add(session: Session) -> None:
        await session.rows("lock_name", id=f"{_SCOPE} {name}")  # another process may note parts of the same job
        known = await _noted(session, name)
        if not set(parts) <= set(known):
            await keep_answer(session, _SCOPE, name, json.dumps(list(dict.fromkeys([*known, *parts]))))

    await ledger.database.write(add, durable=True)


async def batches_of(ledger: Ledger, account: str, job_id: str) -> list[SeenBatch]:
    """In the input's order, of each part all that were made, each with its newest settlement; none for no job."""
    return [one for part in await _parts(ledger, account, job_id) async for one in _of_part(ledger, account, part)]


async def _parts(ledger: Ledger, account: str, job_id: str) -> list[str]:
    return await ledger.database.read(lambda session: _noted(session, _name(account, job_id)))


async def _noted(session: Session, name: str) -> list[str]:
    row = await session.row("get_answer", scope=_SCOPE, name=name)
    return [] if row is None else json.loads(row["document"] or "[]")


def _name(account: str, job_id: str) -> str:
    return f"{account} {job_id}"


async def _of_part(ledger: Ledger, account: str, part: str) -> AsyncGenerator[SeenBatch]:
    keys, number = [f"{part}-1"], 1
    while keys:
        intent = await ledger.intent_of(account, key := keys.pop())
        if intent is None:
            continue
        if key == f"{part}-{number}":
            number += 1
            keys.append(f"{part}-{number}")
        tracked = await ledger.get_batch(intent.batch_id, account) if intent.batch_id else None
        if tracked is None:
            continue
        settled = await ledger.settlement(tracked.batch_id, account)
        yield SeenBatch(tracked, settled[0] if settled else None)
        if _failed_whole(tracked.batch):
            keys += [anew_key(tracked.batch_id), next_key(tracked)]


def anew_key(batch_id: str) -> str:
    """The idempotency key of the batch that follows one that never began."""
    return f"job-anew-{batch_id}"


def _failed_whole(batch: Batch) -> bool:
    return batch.status == "failed" and batch.output_file_id is None
