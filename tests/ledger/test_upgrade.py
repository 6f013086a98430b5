"""A ledger from an earlier release is upgraded where it stands, with everything in it."""

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

import batchmeter
from batchmeter import AsyncClient
from batchmeter.access import Access
from batchmeter.cli.ledger_check import check
from batchmeter.config import Settings
from batchmeter.engines import load_migrations
from batchmeter.errors import LedgerError
from batchmeter.ledger import open_ledger
from batchmeter.testing.recorder import Recorder
from batchmeter_proxy.keyring import KeyLimits, Keyring

SNAPSHOT = '{"id":"b1","status":"in_progress"}'
SUBMISSION = '{"account":"openai","provider":"openai"}'
BATCH = (
    "INSERT INTO batch (account, batch_id, submission, snapshot, status, ended, recorded_at, next_poll_at)"
    f" VALUES ('openai', 'b1', '{SUBMISSION}', '{SNAPSHOT}', 'in_progress', 0, 1, 1)"
)


def run(url, statement):
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.replace("INTO ", "INTO batchmeter."))
    else:
        connection = sqlite3.connect(url)
        with connection:
            connection.execute(statement)
        connection.close()


@pytest.fixture
async def first_release(new_url, clock, monkeypatch):
    """The address of a ledger as the first migration made it, with an open batch."""
    module = "batchmeter_postgres.server" if new_url.startswith("postgresql") else "batchmeter_sqlite.file"
    with monkeypatch.context() as patched:
        patched.setattr(f"{module}.load_migrations", lambda name: load_migrations(name)[:1])
        ledger = open_ledger(new_url, clock=clock)
        await ledger.open()
        await ledger.aclose()
    run(new_url, BATCH)
    return new_url


async def test_what_was_there_goes_on(first_release, make, clock, attribution):
    ledger = open_ledger(first_release, clock=clock)
    await ledger.open()
    try:
        (tracked,) = await ledger.list_batches()
        assert tracked.batch_id == "b1"
        assert await make.settle(ledger, tracked)
        assert [one.settlement.batch_id async for one in Access(ledger).settled_batches(None, None)] == ["b1"]
        await make.record(ledger, attribution=attribution)
        assert await Access(ledger).open_batches(attribution.key) == 1
        assert (await Access(ledger).stats())["schema_version"] == len(load_migrations("batchmeter_sqlite"))
    finally:
        await ledger.aclose()


PENDING = Path(__file__).parents[1] / "data" / "ledger" / "pending_deliveries.sql"
"""Made by the program of that time: two events of one batch that `file`, `Log()` and `@on def tell` had refused."""
TABLES = ("intent", "batch", "settlement", "event", "delivery", "file")
SCHEMA = 5


@pytest.fixture
async def refused_by_all(new_url, clock, monkeypatch):
    """The address of a ledger from before there were subscriptions."""
    if not new_url.startswith("postgresql"):
        with closing(sqlite3.connect(new_url)) as connection:
            connection.executescript(PENDING.read_text("utf-8"))
        return new_url
    with monkeypatch.context() as patched:
        patched.setattr("batchmeter_postgres.server.load_migrations", lambda name: load_migrations(name)[:SCHEMA])
        ledger = open_ledger(new_url, clock=clock)
        await ledger.open()
        await ledger.aclose()
    with closing(sqlite3.connect(":memory:")) as source, psycopg.connect(new_url, autocommit=True) as target:
        source.executescript(PENDING.read_text("utf-8"))
        for table in TABLES:
            rows = source.execute(f"SELECT * FROM {table}")
            names = ", ".join(column[0] for column in rows.description)
            places = ", ".join(["%s"] * len(rows.description))
            for row in rows:
                target.execute(
                    f"INSERT INTO batchmeter.{table} ({names}) OVERRIDING SYSTEM VALUE VALUES ({places})", row
                )
    return new_url


async def test_deliveries_from_before_subscriptions_are_delivered(refused_by_all, tmp_path):
    heard, mine = [], Recorder()

    def tell(event):
        heard.append(event.type)

    batchmeter.on("acreate_batch", "batch_success", name="__main__.tell")(tell)
    path = tmp_path / "events.jsonl"
    settings = Settings(ledger=refused_by_all, track=False, load=("file",), plugins={"file": {"path": str(path)}})
    try:
        async with AsyncClient(settings=settings, plugins={"Log": mine}, environ={}) as client:
            known = {one.name: (one.scoped, one.ended_at) for one in await client.ledger.subscriptions()}
            await client.deliverer.drain(20)
            (settled,) = [one async for one in Access(client.ledger).settled_batches(None, None)]
            health = await check(client.ledger)
    finally:
        batchmeter.off(tell)
    assert known == {"Log": (False, None), "file": (False, None), "on:__main__.tell": (True, None)}
    written = [json.loads(line) for line in path.read_text().splitlines()]
    types = ["acreate_batch", "batch_success"]
    assert (mine.types, heard, [event["data"]["type"] for event in written]) == (types, types, types)
    assert mine.events[1].cost.total == settled.settlement.cost.total == Decimal("0.000283")
    assert mine.events[1].attribution.team == "search"
    assert health.sound
    ledger = open_ledger(refused_by_all)
    await ledger.open(create=False)
    assert await _owed(ledger) == []
    await ledger.aclose()


async def test_deliveries_without_their_logger_wait_after_the_upgrade(refused_by_all):
    settings = Settings(ledger=refused_by_all, track=False, load=())
    async with AsyncClient(settings=settings, environ={}) as client:
        await client.batches.settlement("nobody")
        waiting = {one.name: one.owed for one in await client.ledger.unattended()}
        assert waiting == {"Log": 2, "file": 2, "on:__main__.tell": 2}
        ended = await client.ledger.abandon("on:__main__.tell", reason="it is gone")
        assert ended == 2
        assert set(await _owed(client.ledger)) == {"Log", "file"}


async def _owed(ledger):
    return [one.name for one in await ledger.subscriptions() if one.owed]


async def test_a_ledger_is_made_unless_told_not_to(new_url, clock):
    ledger = open_ledger(new_url, clock=clock)
    with pytest.raises(LedgerError, match="there is no ledger"):
        await ledger.open(create=False)
    for create in (True, False):
        await ledger.open(create=create)
        assert await ledger.list_batches() == []
        await ledger.aclose()


async def test_a_ledger_s_keys_become_the_proxy_s(url, clock):
    """As releases before the proxy had tables of its own left them: keys, their use, what is counted already."""
    ledger = open_ledger(url, clock=clock)
    await ledger.open()
    details = '{"name":"nightly","limits":{"lines_per_day":10}}'
    for statement in (
        f"INTO proxy_key (id, secret_sha256, details, created_at) VALUES ('key_1', 'aa', '{details}', 5)",
        "INTO key_use (key_id, what, period, used) VALUES ('key_1', 'lines_per_day', 7, 6)",
        f"INTO answer (scope, name, document, busy_until, recorded_at) VALUES ('counted lines_per_day key_1', '7 once', '6', 0, {clock.now})",
        "INTO answer (scope, name, document, busy_until, recorded_at) VALUES ('key_1', 'k', '{}', 0, 1)",
    ):
        run(url, f"INSERT {statement}")
    try:
        for _ in range(2):  # carried over once
            keyring = await Keyring.open(Access(ledger))
            (key,) = await keyring.keys()
            assert (key, key.name, key.limits) == (await keyring.find_key("aa"), "nightly", KeyLimits(lines_per_day=10))
            limit = {"key_id": "key_1", "limit": "lines_per_day", "period": 7, "most": 10}
            assert await keyring.use_key(**limit, amount=6, once="once") is True, "counted before, so not again"
            assert await keyring.use_key(**limit, amount=5) is False, "6 of 10 were used before"
        kept = await ledger.reserve_answer("key_1", "k", lease_seconds=1)
        assert (kept.state, kept.document) == ("kept", "{}"), "answers to requests stay the ledger's"
    finally:
        await ledger.aclose()
