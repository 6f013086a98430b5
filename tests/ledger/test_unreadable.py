"""Rows that an older batchmeter or a hand wrote wrongly: they hide no other row, and a check names them."""

import logging

import pytest

from batchmeter.cli.ledger_check import check
from batchmeter.errors import UsageError
from batchmeter.ledger.records import Intent

WRONG = {
    "intent": "UPDATE batchmeter.intent SET submission = '{\"account\": 5}' WHERE id = 'i1'",
    "batch": "UPDATE batchmeter.batch SET submission = '{\"account\": 5}' WHERE batch_id = 'b1'",
    "event": "UPDATE batchmeter.event SET payload = %(payload)s WHERE batch_id = 'b1'",
}


async def _break(ledger, table):
    async def work(session):
        await session.run(session.statement(WRONG[table]), payload=b"no JSON")

    await ledger.database.write(work)


async def _listed(ledger, clock):
    clock.advance(60)
    return {
        "intent": [one.id for one in await ledger.open_intents(created_before=ledger.now() + 1)],
        "batch": sorted(one.batch_id for one in await ledger.list_batches()),
        "event": [one.event.batch_id for one in await ledger.events(limit=1)],
        "claimed": sorted(one.tracked.batch_id for one in await ledger.claim_due(owner="w", limit=9, lease_seconds=9)),
    }


@pytest.mark.parametrize("table", WRONG)
async def test_an_unreadable_row_hides_no_other(ledger, make, clock, table, caplog):
    for name in ("1", "2"):
        await ledger.open_intent(Intent(f"i{name}", make.submission()))
        await make.record(ledger, "openai", make.batch(f"b{name}"), loggers=["file"])
    assert (await check(ledger)).sound
    await _break(ledger, table)
    found = await _listed(ledger, clock)
    assert found == {
        "intent": ["i2"] if table == "intent" else ["i1", "i2"],
        "batch": ["b2"] if table == "batch" else ["b1", "b2"],
        "event": ["b2"] if table == "event" else ["b1"],
        "claimed": ["b2"] if table == "batch" else ["b1", "b2"],
    }
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * (2 if table == "batch" else 1)
    health = await check(ledger)
    assert not health.sound
    [(what, count)] = health.wrong.items()
    assert (count, what.startswith(f"rows of {table} that cannot be read, the first: ")) == (1, True)
    assert ("i1" if table == "intent" else "b1") in what


async def test_a_submission_that_cannot_be_read_back_is_not_written(ledger, make):
    with pytest.raises(UsageError, match="model: Input should be a valid string"):
        await ledger.open_intent(Intent("i1", make.submission(model=5)))
    assert await ledger.open_intents(created_before=ledger.now() + 1) == []
