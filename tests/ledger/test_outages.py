"""A PostgreSQL server that refuses for a while is waited for, the log says so once, and the work goes on."""

import asyncio
import logging

import psycopg
import pytest

from batchmeter import AsyncClient
from batchmeter.errors import LedgerError
from batchmeter.ledger import open_ledger
from batchmeter_postgres import database


@pytest.fixture
def url(postgres_server):
    run(postgres_server, "DROP SCHEMA IF EXISTS batchmeter CASCADE")
    yield postgres_server
    run(postgres_server, "ALTER SYSTEM RESET ALL", "ALTER ROLE ledger RESET ALL", "SELECT pg_reload_conf()")


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Says so at the first failure."""
    monkeypatch.setattr(database, "WARN_SECONDS", 0.0)


def run(url, *statements):
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        for statement in statements:
            connection.execute(statement)


async def opened(url):
    ledger = open_ledger(url)
    await ledger.open()
    return ledger


async def until_it_waits(caplog, *, work, why=""):
    async with asyncio.timeout(30):
        while not any("waiting for the server" in line and why in line for line in warnings(caplog)):
            assert not work.done(), work
            await asyncio.sleep(0.01)  # a log wakes nobody


def warnings(caplog):
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


async def test_creates_wait_for_a_read_only_failover(url, make, caplog):
    before = await opened(url)
    await make.record(before)
    await before.aclose()
    run(
        url, "ALTER ROLE ledger SET default_transaction_read_only = on"
    )  # a reload would reach each connection at another time
    ledger = await opened(url)
    creates = asyncio.gather(*(make.record(ledger) for _ in range(30)))
    await until_it_waits(caplog, work=creates)
    assert len(await ledger.list_batches()) == 1  # reads go on, and tell nothing
    run(url, "ALTER ROLE ledger RESET ALL")
    await asyncio.wait_for(creates, 30)
    assert len(await ledger.list_batches()) == len(await ledger.events()) == 31
    waits, back = warnings(caplog)
    assert "read-only standby" in waits
    assert back.endswith("is back")
    await ledger.aclose()


async def test_too_many_clients_are_waited_out(url, make, caplog):
    ledger = await opened(url)
    with psycopg.connect(url) as connection:
        (most,) = connection.execute("SELECT current_setting('max_connections')::int").fetchone()
    crowd = [psycopg.connect(url)]
    with pytest.raises(psycopg.OperationalError):
        crowd.extend(psycopg.connect(url) for _ in range(most))
    writes = asyncio.gather(*(make.record(ledger) for _ in range(10)))
    starting = asyncio.create_task(start(url))
    await until_it_waits(caplog, work=starting, why="no connection left")
    for connection in crowd:
        connection.close()
    await asyncio.wait_for(asyncio.gather(writes, starting), 30)
    assert len(await ledger.list_batches()) == 10
    await ledger.aclose()


async def start(url):
    """A worker that starts while the server refuses."""
    async with AsyncClient(ledger=url, environ={}):
        pass


async def test_a_statement_that_was_cut_short_is_tried_again(url, make, caplog):
    await (await opened(url)).aclose()
    run(url, "ALTER ROLE ledger SET statement_timeout = '50ms'")
    ledger = await opened(url)
    tracked = await make.record(ledger)
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM batchmeter.batch FOR UPDATE")
        waking = asyncio.create_task(ledger.wake("openai", tracked.batch_id))
        await until_it_waits(caplog, work=waking)
    assert await asyncio.wait_for(waking, 30) is True
    await ledger.aclose()


async def test_a_statement_that_is_always_cut_short_is_explained(url, make, monkeypatch):
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.3)
    await (await opened(url)).aclose()
    run(url, "ALTER ROLE ledger SET statement_timeout = '50ms'")
    ledger = await opened(url)
    tracked = await make.record(ledger)
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM batchmeter.batch FOR UPDATE")
        with pytest.raises(LedgerError, match="statement_timeout"):
            await ledger.wake("openai", tracked.batch_id)
    await ledger.aclose()


async def test_the_pool_s_own_log_repeats_nothing(url, make, caplog, postgres_cluster):
    ledger = await opened(url)
    await make.record(ledger)
    await asyncio.to_thread(postgres_cluster.restart)
    await asyncio.gather(*(make.record(ledger) for _ in range(10)))
    assert [
        record for record in caplog.records if record.name == "psycopg.pool" and record.levelno > logging.INFO
    ] == []
    await ledger.aclose()


async def test_a_first_asker_whose_commit_went_unheard_is_the_first(url, monkeypatch):
    ledger = await opened(url)
    commit = psycopg.AsyncConnection.commit

    async def unheard(connection):
        await commit(connection)
        monkeypatch.setattr(psycopg.AsyncConnection, "commit", commit)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(psycopg.AsyncConnection, "commit", unheard)
    assert [await ledger.once("scope", "name") for _ in range(2)] == [True, False]
    await ledger.not_once("scope", "name")
    assert await ledger.once("scope", "name") is True
    await ledger.aclose()
