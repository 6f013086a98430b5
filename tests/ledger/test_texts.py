"""Others' texts are kept, also where it is no text that a database takes."""

import asyncio
import sqlite3

import pytest

from batchmeter.cli.ledger_copy import copy_ledger
from batchmeter.errors import LedgerError
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import DeliveryResult, Intent, Reschedule
from batchmeter.models import Attribution

TEXTS = [
    ("said \x00", r"said \x00"),
    ("said \ud83d", r"said \ud83d"),
    ("said \u2028 \U0001f600\n%s", "said \u2028 \U0001f600\n%s"),
]


@pytest.mark.parametrize(("said", "kept"), TEXTS)
async def test_a_looks_error(ledger, make, said, kept):
    await make.record(ledger)
    (claim,) = await ledger.claim_due(owner="w", limit=1, lease_seconds=60)
    assert await ledger.reschedule([Reschedule(claim, ledger.now() + 1000, error=said)]) == 1
    assert (await ledger.get_batch(claim.tracked.batch_id)).last_error == kept


@pytest.mark.parametrize(("said", "kept"), TEXTS)
async def test_a_loggers_error(ledger, make, said, kept):
    await make.record(ledger)
    (delivery,) = await ledger.claim_deliveries("file", owner="d", limit=1, lease_seconds=60)
    assert await ledger.finish_deliveries([DeliveryResult(delivery, "dead", error=said)]) == 1
    (dead,) = await ledger.deliveries(state="dead")
    assert (dead.last_error, dead.attempts) == (kept, 1)


@pytest.mark.parametrize(("said", "kept"), TEXTS)
async def test_a_refusals_reason(ledger, make, said, kept):
    await ledger.open_intent(Intent("i1", make.submission()))
    await ledger.close_intent("i1", said)
    assert (await ledger.intent("i1")).reason == kept


async def test_a_ledger_that_took_such_texts_is_copied(ledger, make, clock, tmp_path):
    path = tmp_path / "older.db"
    older = open_ledger(str(path), clock=clock)
    await older.open()
    await older.open_intent(Intent("i1", make.submission()))
    await older.close_intent("i1", "x")
    tracked = await make.record(older)
    with sqlite3.connect(path) as connection:
        for column in ("intent SET reason", "batch SET last_error", "delivery SET last_error"):
            connection.execute(f"UPDATE {column} = ?", ["said \x00"])
    connection.close()
    await copy_ledger(older, ledger)
    await older.aclose()
    assert (await ledger.intent("i1")).reason == r"said \x00"
    assert (await ledger.get_batch(tracked.batch_id)).last_error == r"said \x00"
    assert [one.last_error for one in await ledger.deliveries()] == [r"said \x00"]


@pytest.mark.parametrize("words", [text for text, _ in TEXTS])
async def test_endings_of_batches_with_such_texts_are_observed(ledger, make, words):
    """Of a list's page: one such batch would keep all others from being told."""
    batch = make.batch("b1", metadata={"note": words})
    await make.record(ledger, batch=batch, metadata={"note": words}, attribution=Attribution(user=words))
    await make.record(ledger, batch=make.batch("b2"))
    ended = [
        one.model_copy(update={"status": "completed", "output_file_id": f"out-{one.id}"})
        for one in (batch, make.batch("b2"))
    ]
    assert await ledger.observe_endings("openai", ended) == {"b1", "b2"}
    assert (await ledger.get_batch("b1")).batch == ended[0]
    assert (await ledger.owner_of("out-b1")).attribution.user == words


async def test_an_id_that_is_no_text_is_explained_and_fails_alone(ledger, make):
    bad = "k\ud83d"
    for call in (ledger.get_batch(bad), ledger.account_of(bad), ledger.once("scope", bad)):
        with pytest.raises(LedgerError, match=r"not text: 'k\\ud83d'"):
            await call
    intents = [Intent(f"i{number}", make.submission(), idempotency_key=f"k{number}") for number in range(9)]
    intents[4] = Intent("i4", make.submission(), idempotency_key=bad)
    stored = await asyncio.gather(*map(ledger.open_intent, intents), return_exceptions=True)
    assert [isinstance(one, LedgerError) for one in stored] == [number == 4 for number in range(9)]
