"""A ledger from an earlier release is upgraded where it stands, with everything in it."""

import sqlite3

import psycopg
import pytest

from batchmeter.errors import LedgerError
from batchmeter.ledger import open_ledger
from batchmeter.ledger.session import load_migrations

SNAPSHOT = '{"id":"b1","status":"in_progress"}'
SUBMISSION = '{"account":"openai","provider":"openai"}'
BATCH = (
    "INSERT INTO batch (account, batch_id, submission, snapshot, status, ended, recorded_at, next_poll_at)"
    f" VALUES ('openai', 'b1', '{SUBMISSION}', '{SNAPSHOT}', 'in_progress', 0, 1, 1)"
)


def run(url, statement):
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.replace("INTO batch", "INTO batchmeter.batch"))
    else:
        connection = sqlite3.connect(url)
        with connection:
            connection.execute(statement)
        connection.close()


@pytest.fixture
async def first_release(url, clock, monkeypatch):
    """The address of a ledger as the first migration made it, with an open batch."""
    module = "batchmeter_postgres.server" if url.startswith("postgresql") else "batchmeter.ledger.sqlite_file"
    with monkeypatch.context() as patched:
        patched.setattr(f"{module}.load_migrations", lambda name: load_migrations(name)[:1])
        ledger = open_ledger(url, clock=clock)
        await ledger.open()
        await ledger.aclose()
    run(url, BATCH)
    return url


async def test_what_was_there_goes_on(first_release, make, clock, attribution):
    ledger = open_ledger(first_release, clock=clock)
    await ledger.open()
    try:
        (tracked,) = await ledger.list_batches()
        assert tracked.batch_id == "b1"
        assert await make.settle(ledger, tracked)
        assert [one.settlement.batch_id for one in await ledger.costs()] == ["b1"]
        assert await ledger.has_keys() is False
        await make.record(ledger, attribution=attribution)
        assert await ledger.open_batches(attribution.key) == 1
        assert (await ledger.stats())["schema_version"] == len(load_migrations("batchmeter.ledger"))
    finally:
        await ledger.aclose()


async def test_a_ledger_is_made_unless_told_not_to(url, clock):
    ledger = open_ledger(url, clock=clock)
    with pytest.raises(LedgerError, match="there is no ledger"):
        await ledger.open(create=False)
    for create in (True, False):
        await ledger.open(create=create)
        assert await ledger.list_batches() == []
        await ledger.aclose()
