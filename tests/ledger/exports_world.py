"""Settled batches for the exports: really metered output lines, put into a ledger on the days that a test names."""

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from batchmeter import meter
from batchmeter.events import BatchSucceeded, Outcome, Settlement, event_id
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Submission
from batchmeter.models import Attribution, Batch
from batchmeter.tracker.build_events import created_event


def output(model: str, count: int = 3, **changed: Any) -> bytes:
    """Output lines of chat completions; `usage` changes the counters."""
    usage = {
        "prompt_tokens": 1007,
        "completion_tokens": 331,
        "total_tokens": 1338,
        "prompt_tokens_details": {"cached_tokens": 129},
        "completion_tokens_details": {"reasoning_tokens": 64},
    }
    body = {"object": "chat.completion", "model": model, "usage": usage | changed}
    answer = {"status_code": 200, "body": body}
    rows = [{"id": f"x{n}", "custom_id": f"{model}-{n}", "response": answer, "error": None} for n in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


_metered = cache(lambda content, provider: meter([content], provider=provider))


def fields_of(content: bytes, provider: str = "openai", **how: Any) -> dict[str, Any]:
    """Fields of a settlement of this output."""
    found = meter([content], provider=provider, **how) if how else _metered(content, provider)
    return {
        "request_counts": found.lines,
        "usage": found.usage,
        "cost": found.cost,
        "models": found.models,
        "rates": found.rates,
    }


async def put(
    ledger: Ledger,
    clock: Any,
    batch_id: str,
    fields: dict[str, Any],
    *,
    day: str = "2026-11-03",
    account: str = "openai",
    provider: str = "openai",
    notes: tuple[str, ...] = (),
    **who: Any,
) -> None:
    """Submitted and settled at noon of the day."""
    noon = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    clock.now = int(noon.timestamp()) * 1000
    submission = Submission(
        account, provider, attribution=Attribution(**who), metadata={"project": "p1", "odd": "=1+1"}
    )
    batch = Batch(id=batch_id, status="in_progress", endpoint="/v1/chat/completions")
    event = created_event(submission, batch, time=clock.now)
    await ledger.record_created(submission, batch, event, next_poll_at=clock.now)
    claim = await ledger.claim(account, batch_id, owner="w", lease_seconds=60)
    assert claim is not None
    settlement, ending = _ending(batch, account, provider, noon, fields, notes, 1)
    assert await ledger.settle(claim, settlement, {}, ending)


async def revise(ledger: Ledger, clock: Any, batch_id: str, fields: dict[str, Any], *, account: str = "openai") -> None:
    """The same batch at other prices."""
    found = await ledger.settlement(batch_id, account)
    assert found is not None
    one = found[0]
    clock.advance(60)
    now = datetime.fromtimestamp(clock.now / 1000, UTC)
    settlement, ending = _ending(one.batch, account, one.provider, now, fields, one.notes, one.revision + 1)
    assert await ledger.revise(settlement, {}, ending)


def _ending(
    batch: Batch,
    account: str,
    provider: str,
    at: datetime,
    fields: dict[str, Any],
    notes: tuple[str, ...],
    revision: int,
) -> tuple[Settlement, BatchSucceeded]:
    ended = batch.model_copy(update={"status": "completed"})
    about = {"account": account, "provider": provider, "batch_id": batch.id, "batch": ended, "revision": revision}
    settlement = Settlement(status="completed", settled_at=at, notes=notes, **about, **fields)
    outcome = {name: getattr(settlement, name) for name in Outcome.model_fields}
    name = event_id(account, batch.id, "batch_success", revision)
    return settlement, BatchSucceeded(id=name, time=at, **about, **outcome)
