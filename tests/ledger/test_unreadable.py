"""Rows that an older batchmeter or a hand wrote wrongly: they hide no other row, and a check names them."""

import logging
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import pytest

from batchmeter.cli.ledger_check import check
from batchmeter.errors import UsageError
from batchmeter.events import PluginEvent
from batchmeter.ledger.records import Intent, Reschedule

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
    assert (count, what.startswith(f"rows of {table} that are damaged, the first: ")) == (1, True)
    assert ("i1" if table == "intent" else "b1") in what


DAMAGED = (
    ("event", "payload", b'"other"', b'"ether"'),
    ("event", "type", "acreate_batch", "batch_success"),
    ("event", "digest", None, "x"),
    ("settlement", "settlement", '"other"', '"ether"'),
    ("settlement", "line_groups", "gpt", "gqt"),
    ("batch", "status", "completed", "failed"),
    ("batch", "submission", "openai", "apenai"),
    ("batch", "snapshot", '"other"', '"ether"'),
    ("intent", "submission", "openai", "apenai"),
)
"""Table, column, and a part of it that becomes another (None: all of it): each leaves documents that can be read."""


async def test_damage_that_can_be_read_is_found(ledger, make):
    await ledger.open_intent(Intent("i1", make.submission()))
    tracked = await make.record(ledger, "openai", make.batch("b1", metadata={"team": "other"}), loggers=())
    await make.settle(ledger, tracked, loggers=())
    assert (await check(ledger)).sound
    for table, column, part, other in DAMAGED:
        was = await ledger.database.read(partial(_value, table, column))
        damaged = other if part is None else was.replace(part, other)
        assert damaged != was, (table, column)
        await ledger.database.write(partial(_set_value, table, column, damaged))
        wrong = (await check(ledger)).wrong
        damage = [text.partition(",")[0] for text in wrong if text.startswith("rows of ")]
        assert damage == [f"rows of {table} that are damaged"], (column, wrong)
        await ledger.database.write(partial(_set_value, table, column, was))
    assert (await check(ledger)).sound


async def _value(table, column, session):
    row = await session.row(session.statement(f"SELECT {column} AS value FROM batchmeter.{table}{_first(table)}"))
    return row["value"]


async def _set_value(table, column, value, session):
    text = f"UPDATE batchmeter.{table} SET {column} = %(value)s{_first(table)}"
    assert await session.run(session.statement(text), value=value) == 1


def _first(table):
    return " WHERE seq = 1" if table == "event" else ""


OLDER = (
    ("event", "digest"),
    ("settlement", "digest"),
    ("batch", "submission_digest"),
    ("batch", "snapshot_digest"),
    ("intent", "submission_digest"),
)


async def test_rows_of_older_releases_have_no_digest(ledger, make):
    await ledger.open_intent(Intent("i1", make.submission()))
    tracked = await make.record(ledger, "openai", make.batch("b1"), loggers=())
    await make.settle(ledger, tracked, loggers=())

    async def work(session):
        for table, column in OLDER:
            await session.run(session.statement(f"UPDATE batchmeter.{table} SET {column} = NULL"))

    await ledger.database.write(work)
    assert (await check(ledger)).sound


async def test_every_look_leaves_a_sound_digest(ledger, make, clock):
    """An open snapshot, a final one, none at all, one that a list shows, and one that comes too late."""
    for name in ("b1", "b2"):
        await make.record(ledger, "openai", make.batch(name), loggers=())
    for batch in (make.batch("b1", status="in_progress"), None, make.batch("b1", status="completed"), make.batch("b1")):
        clock.advance(60)
        claims = [
            one for one in await ledger.claim_due(owner="w", limit=9, lease_seconds=9) if one.tracked.batch_id == "b1"
        ]
        assert await ledger.reschedule([Reschedule(one, clock.now, batch=batch) for one in claims]) == 1
        assert (await check(ledger)).sound
    await ledger.observe("openai", make.batch("b2", status="in_progress"))
    assert (await check(ledger)).sound
    await ledger.observe_endings("openai", [make.batch("b2", status="completed")])
    assert (await check(ledger)).sound


async def test_a_submission_that_cannot_be_read_back_is_not_written(ledger, make):
    with pytest.raises(UsageError, match="model: Input should be a valid string"):
        await ledger.open_intent(Intent("i1", make.submission(model=5)))
    assert await ledger.open_intents(created_before=ledger.now() + 1) == []


async def test_events_end_early_by_bytes_and_by_no_unreadable_row(ledger, make, monkeypatch):
    """As many are read as fit; rows that cannot be read end no page."""
    monkeypatch.setattr("batchmeter.ledger.outbox._FIRST_ROWS", 2)
    for number in range(12):
        await make.record(ledger, "openai", make.batch(f"b{number:02}"), loggers=())
    stored = await ledger.events()
    size = len(stored[0].payload)
    assert {len(one.payload) for one in stored} == {size}

    async def work(session):
        for seq in (2, 3):
            await session.run(
                session.statement(f"UPDATE batchmeter.event SET payload = %(x)s WHERE seq = {seq}"), x=b"?"
            )

    await ledger.database.write(work)
    kept = [one.seq for one in stored if one.seq not in {2, 3}]
    for most, count in ((1, 2), (size * 3, 4), (size * 99, 10), (None, 10)):
        assert [one.seq for one in await ledger.events(most_bytes=most)] == kept[:count], most
    assert [one.seq for one in await ledger.events(limit=3, most_bytes=size * 99)] == kept[:3]


async def test_events_of_plugins_are_no_fault(ledger, make):
    class Note(PluginEvent, frozen=True):
        type: Literal["note"] = "note"

    await make.settle(ledger, await make.record(ledger, "openai", make.batch("ended"), loggers=()), loggers=())
    await make.record(ledger, "openai", make.batch("open"), loggers=())
    for batch_id in ("ended", "open", ""):
        for number in range(2):
            note = Note(id=f"{batch_id}-{number}", time=datetime(2026, 11, 30, tzinfo=UTC), batch_id=batch_id)
            assert await ledger.record_event(note.model_copy(update={"account": "openai"}))
    assert (await check(ledger)).wrong == {}
