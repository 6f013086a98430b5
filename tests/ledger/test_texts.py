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


async def test_errors_and_reasons_are_kept(ledger, make):
    """A look's error, a logger's, and a refusal's reason."""
    for said, kept in TEXTS:
        tracked = await make.record(ledger)
        (claim,) = await ledger.claim_due(owner="w", limit=1, lease_seconds=60)
        assert await ledger.reschedule([Reschedule(claim, ledger.now() + 1000, error=said)]) == 1
        assert (await ledger.get_batch(tracked.batch_id)).last_error == kept
        (delivery,) = await ledger.claim_deliveries("file", owner="d", limit=1, lease_seconds=60)
        assert await ledger.finish_deliveries([DeliveryResult(delivery, "dead", error=said)]) == 1
        dead = {one.last_error: one.attempts for one in await ledger.deliveries(state="dead")}
        assert dead[kept] == 1
        await ledger.open_intent(Intent(f"refused {kept}", make.submission()))
        await ledger.close_intent(f"refused {kept}", said)
        assert (await ledger.intent(f"refused {kept}")).reason == kept


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


async def test_endings_of_batches_with_such_texts_are_observed(ledger, make):
    """Of a list's page: one such batch would keep all others from being told."""
    for number, (words, _) in enumerate(TEXTS):
        odd, plain = f"odd{number}", f"plain{number}"
        batch = make.batch(odd, metadata={"note": words})
        await make.record(ledger, batch=batch, metadata={"note": words}, attribution=Attribution(user=words))
        await make.record(ledger, batch=make.batch(plain))
        ended = [
            one.model_copy(update={"status": "completed", "output_file_id": f"out-{one.id}"})
            for one in (batch, make.batch(plain))
        ]
        assert await ledger.observe_endings("openai", ended) == {odd, plain}
        assert (await ledger.get_batch(odd)).batch == ended[0]
        assert (await ledger.owner_of(f"out-{odd}")).attribution.user == words


async def test_an_id_that_is_no_text_is_explained_and_fails_alone(ledger, make):
    bad = "k\ud83d"
    for call in (ledger.get_batch(bad), ledger.account_of(bad), ledger.once("scope", bad)):
        with pytest.raises(LedgerError, match=r"not text: 'k\\ud83d'"):
            await call
    intents = [Intent(f"i{number}", make.submission(), idempotency_key=f"k{number}") for number in range(9)]
    intents[4] = Intent("i4", make.submission(), idempotency_key=bad)
    stored = await asyncio.gather(*map(ledger.open_intent, intents), return_exceptions=True)
    assert [isinstance(one, LedgerError) for one in stored] == [number == 4 for number in range(9)]
