"""Copying a ledger loses nothing, whichever way round."""

import asyncio
import threading
from functools import partial

import pytest

from batchmeter.access import Access
from batchmeter.cli.ledger_check import check
from batchmeter.cli.ledger_copy import copy_ledger, count_rows, read_page, read_tables
from batchmeter.errors import LedgerError
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import DeliveryResult, Intent
from batchmeter.models import Cost, FileObject
from batchmeter.runtime.plugin_store import open_store
from batchmeter.spend.prune import prune, pruned_totals
from batchmeter.spend.spend import Spend
from batchmeter_proxy.keyring import KeyLimits, Keyring, ProxyKey

NOTES = "CREATE TABLE batchmeter.notes_kept (id TEXT NOT NULL PRIMARY KEY);"
"""A plugin's own table."""


@pytest.fixture
async def filled(make, clock, attribution):
    """A ledger in memory with something in every table and state."""
    ledger = open_ledger(":memory:", clock=clock)
    await ledger.open()
    await ledger.open_intent(Intent("i1", make.submission(), idempotency_key="k"))
    await ledger.record_file("openai", FileObject(id="file_1", note="\ud83d"), attribution=attribution, lines=7)
    await Spend(ledger).label(["team"])
    tracked = await make.record(ledger, loggers=())
    await make.settle(ledger, tracked, loggers=())
    unknown = make.settlement("openai", tracked.batch.model_copy(update={"status": "completed"}), 2)
    unknown = unknown.model_copy(update={"cost": Cost(total=None, unknown={"unknown_model": 3})})
    assert await ledger.revise(unknown, {}, make.ending("openai", unknown.batch, 2))
    clock.advance(1)
    assert await prune(ledger, settled_before=clock.now) == 1
    clock.advance(7200)
    await make.record(ledger, input_file_id="file_1")
    keyring = await Keyring.open(Access(ledger))
    await keyring.add_key(ProxyKey(id="key_1", owner="ada", limits=KeyLimits(open_batches=3)), secret_sha256="5e")
    await keyring.use_key("key_1", "lines_per_day", period=20_000, amount=3, most=9, once="a")
    await keyring.take_place("key_1", "p", most=1, lease_seconds=60)
    await keyring.see_key("key_1")
    await ledger.keep_answer("key_1", "files k", "{}")
    for number in range(4):
        tracked = await make.record(
            ledger, batch=make.batch(f"b{number}", text="x\x00y"), loggers=["file", "otel"], attribution=attribution
        )
        if number % 2:
            await make.settle(ledger, tracked, look_again_at=clock.now + 900_000)
    taken = await ledger.claim_deliveries("otel", owner="d", limit=2, lease_seconds=60)
    states = ("delivered", "dead")
    await ledger.finish_deliveries([DeliveryResult(d, s, error=s) for d, s in zip(taken, states, strict=True)])
    await ledger.claim_due(owner="w", limit=1, lease_seconds=60)
    store = await open_store(
        ledger.database, "notes", [NOTES], "-- name: add\nINSERT INTO batchmeter.notes_kept VALUES ('n')"
    )
    await store.run("add")
    yield ledger
    await ledger.aclose()


async def rows_of(ledger):
    return {
        table.name: [row async for row in pages(ledger, table)] for table in await ledger.database.read(read_tables)
    }


async def pages(ledger, table):
    after = {}
    while page := await ledger.database.read(partial(read_page, table, after)):
        for row in page:
            yield row
        after = {f"after_{column}": page[-1][column] for column in table.key}


async def contents(ledger):
    keyring = await Keyring.open(Access(ledger))
    return {
        "tables": await rows_of(ledger),
        "batches": await ledger.list_batches(limit=1000),
        "events": await ledger.events(),
        "deliveries": await ledger.deliveries(),
        "settlements": await ledger.settlements(),
        "intents": await ledger.open_intents(created_before=2**60),
        "owner": await ledger.owner_of("file_1"),
        "gauges": await ledger.gauges(),
        "stats": await Access(ledger).stats(),
        "settled": [one async for one in Access(ledger).settled_batches(None, None)],
        "cost_gauges": await Access(ledger).cost_gauges(),
        "keys": await keyring.keys(),
        "seen": await keyring.last_seen(),
        "key": await keyring.find_key("5e"),
        "room": await keyring.use_key("key_1", "lines_per_day", period=20_000, amount=7, most=9),
        "pruned_totals": await ledger.database.read(pruned_totals),
        "answer": await ledger.reserve_answer("key_1", "files k", lease_seconds=1),
    }


async def test_everything_arrives_and_work_goes_on(ledger, filled, make, monkeypatch):
    monkeypatch.setattr("batchmeter.cli.ledger_copy.PAGE_ROWS", 3)
    progress = []
    copied = await copy_ledger(filled, ledger, on_progress=lambda *step: progress.append(step))
    assert copied.rows == await count_rows(filled)
    assert min(copied.rows.values()) > 0
    assert {table for table, _ in progress} == set(copied.rows)
    assert await contents(ledger) == await contents(filled)
    last = (await ledger.events())[-1].seq
    await make.settle(ledger, await make.record(ledger), loggers=["file"])
    assert [e.seq for e in await ledger.events(after=last)] == [last + 1, last + 2]


async def test_a_ledger_in_use_is_not_copied_into(ledger, filled, make):
    await make.record(ledger)
    with pytest.raises(LedgerError, match="not empty"):
        await copy_ledger(filled, ledger)


async def test_a_copy_beside_a_running_tracker_is_of_one_moment(url, make, clock, tmp_path, monkeypatch):
    """Batches recorded, settled, delivered and pruned while copying are in it whole or not at all."""
    monkeypatch.setattr("batchmeter.cli.ledger_copy.PAGE_ROWS", 2)
    source, target = open_ledger(url, clock=clock), open_ledger(str(tmp_path / "copy.db"), clock=clock)
    await source.open()
    await target.open()
    for number in range(8):
        await make.record(source, batch=make.batch(f"b{number}"))
    before = await rows_of(source)
    start, wrote, stop = threading.Event(), threading.Event(), threading.Event()
    track = asyncio.create_task(asyncio.to_thread(asyncio.run, tracker(url, make, clock, start, wrote, stop)))

    def progress(table, rows):
        """The first page is copied; no other is before the tracker wrote."""
        start.set()
        assert wrote.wait(30)

    copied = await copy_ledger(source, target, on_progress=progress)
    stop.set()
    await track
    assert copied.outdated
    assert await rows_of(target) == before
    assert (await check(target)).sound
    assert len(await source.list_batches(limit=1000)) > 0
    await source.aclose()
    await target.aclose()


async def tracker(url, make, clock, start, wrote, stop):
    """On a loop and a connection of its own, as another process would be."""
    ledger = open_ledger(url, clock=clock)
    await ledger.open()
    assert start.wait(30)
    while not (stop.is_set() and wrote.is_set()):
        await make.record(ledger)
        for claim in await ledger.claim_due(owner="w", limit=2, lease_seconds=60):
            await make.settle_claim(ledger, claim)
        taken = await ledger.claim_deliveries("file", owner="d", limit=2, lease_seconds=60)
        await ledger.finish_deliveries([DeliveryResult(one, "delivered") for one in taken])
        await prune(ledger, settled_before=clock.now + 1)
        wrote.set()
    await ledger.aclose()


async def test_a_copy_of_a_quiet_ledger_is_not_outdated(ledger, filled):
    assert (await copy_ledger(filled, ledger)).outdated is False


async def test_a_table_that_the_target_lacks_is_named(ledger, filled):
    await filled.database.write(add_table)
    with pytest.raises(LedgerError, match="lacks what .* has: extra"):
        await copy_ledger(filled, ledger)


async def add_table(session):
    await session.run(session.statement("CREATE TABLE batchmeter.extra (id TEXT PRIMARY KEY)"))
