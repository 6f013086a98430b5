"""Ledger files: migrations under a lock, and plain words for what is wrong with a file."""

import asyncio
import os
import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from batchmeter.access import Access
from batchmeter.engines import load_migrations
from batchmeter.errors import LedgerError, LedgerTooNewError
from batchmeter.ledger import open_ledger
from batchmeter_sqlite import file as sqlite_file


async def opened(path):
    ledger = open_ledger(str(path))
    await ledger.open()
    return ledger


async def failure(path, kind=LedgerError) -> str:
    with pytest.raises(kind) as caught:
        await opened(path)
    return str(caught.value)


async def test_paths_and_urls_name_the_same_file(tmp_path, make):
    path = tmp_path / "a ledger.db"
    ledger = await opened(path)
    await make.record(ledger, batch=make.batch("b1"))
    assert str(path) in ledger.url
    await ledger.aclose()
    again = await opened(ledger.url)
    assert (await again.get_batch("b1")).batch_id == "b1"
    await again.aclose()


async def test_memory_is_private_and_gone_when_closed(make):
    one, two = await opened(":memory:"), await opened(":memory:")
    await make.record(one, batch=make.batch("b1"))
    assert await two.get_batch("b1") is None
    await one.aclose()
    await one.open()
    assert await one.get_batch("b1") is None
    await one.aclose()
    await two.aclose()


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
async def test_a_new_file_is_its_user_s_alone(tmp_path, make):
    path = tmp_path / "ledger.db"
    ledger = await opened(path)
    await make.record(ledger)
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
    await ledger.aclose()
    path.chmod(0o640)  # somebody's choice
    await (await opened(path)).aclose()
    assert path.stat().st_mode & 0o777 == 0o640


async def test_a_process_holds_80_mb_of_a_ledger_at_most(tmp_path):
    ledger = await opened(tmp_path / "ledger.db")
    kept = {}
    for name in ("cache_size", "mmap_size"):
        (row,) = await ledger.database.read(
            lambda session, name=name: session.rows(session.statement(f"PRAGMA {name}"))
        )
        kept[name] = row[name]
    assert kept["cache_size"] * -1024 + kept["mmap_size"] <= 80 * 2**20
    await ledger.aclose()


async def test_opening_and_closing_twice_is_harmless(tmp_path):
    ledger = await opened(tmp_path / "ledger.db")
    await ledger.open()
    await ledger.aclose()
    await ledger.aclose()
    with pytest.raises(LedgerError, match="closed"):
        await Access(ledger).stats()


async def test_of_several_openers_one_migrates(tmp_path):
    path = tmp_path / "ledger.db"
    ledgers = await asyncio.gather(*(opened(path) for _ in range(4)))
    for ledger in ledgers:
        await ledger.aclose()
    with sqlite3.connect(path) as connection:
        applied = connection.execute("SELECT version, checksum FROM schema_version").fetchall()
    connection.close()
    assert applied == [(m.version, m.checksum) for m in load_migrations("batchmeter_sqlite")]


def rewrite(path, statement):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_newer_ledger_is_refused(tmp_path):
    path = tmp_path / "ledger.db"
    await (await opened(path)).aclose()
    rewrite(path, "INSERT INTO schema_version VALUES (999, '0999_future.sql', 'x', 0)")
    message = await failure(path, LedgerTooNewError)
    assert "999" in message
    assert "upgrade batchmeter" in message


async def test_a_migration_applied_in_another_form_is_refused(tmp_path):
    path = tmp_path / "ledger.db"
    await (await opened(path)).aclose()
    rewrite(path, "UPDATE schema_version SET checksum = 'other'")
    assert "0001_first.sql" in await failure(path)


async def test_files_that_are_no_ledgers_are_refused_and_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("remember the milk\n" * 100)
    assert "not a ledger" in await failure(text)
    assert text.read_text() == "remember the milk\n" * 100
    other = tmp_path / "other.db"
    rewrite(other, "CREATE TABLE mine (x)")
    assert "another program" in await failure(other)
    assert "is a folder" in await failure(tmp_path)
    assert "does not exist" in await failure(tmp_path / "missing" / "ledger.db")
    assert not (tmp_path / "missing").exists()


async def test_a_damaged_file_is_explained(tmp_path, make):
    path = tmp_path / "ledger.db"
    ledger = await opened(path)
    for _ in range(50):
        await make.record(ledger)
    await ledger.aclose()
    damaged = bytearray(path.read_bytes())
    damaged[4096 : len(damaged) - 4096] = os.urandom(len(damaged) - 8192)
    path.write_bytes(damaged)
    ledger = open_ledger(str(path))
    with pytest.raises(LedgerError, match="damaged"):
        await read_everything(ledger)
    await ledger.aclose()


async def read_everything(ledger):
    await ledger.open()
    await Access(ledger).stats()
    await ledger.events()


async def test_a_full_disk_loses_nothing_that_was_there(tmp_path, make):
    path = tmp_path / "ledger.db"
    ledger = await opened(path)
    await make.record(ledger, batch=make.batch("b1"))
    await limit_pages(ledger, "SELECT 'PRAGMA max_page_count = ' || page_count FROM pragma_page_count")
    with pytest.raises(LedgerError, match="is full"):
        await record_many(ledger, make)
    kept = await ledger.list_batches(limit=1000)
    assert len(kept) == len(await ledger.events()) >= 1
    await limit_pages(ledger, "SELECT 'PRAGMA max_page_count = 1000000'")
    await make.record(ledger, batch=make.batch("b2"))
    assert (await ledger.get_batch("b2")).batch_id == "b2"
    await ledger.aclose()


async def record_many(ledger, make):
    for _ in range(200):
        await make.record(ledger, batch=make.batch(note="x" * 2000))


async def limit_pages(ledger, query):
    database = ledger.database

    def limit():
        (pragma,) = database._connection.execute(query).fetchone()
        database._connection.execute(pragma).fetchall()

    await database._hop(limit)


@contextmanager
def read_only(path):
    """Permissions do not bind root, so step down for a moment."""
    root = os.geteuid() == 0
    path.chmod(0o444)
    path.parent.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.parent.chmod(0o700)


async def test_a_read_only_ledger_is_explained():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        path = Path(folder, "ledger.db")
        await (await opened(path)).aclose()
        with read_only(path):
            assert "read-only" in await failure(path)


async def test_there_is_nothing_to_hear(tmp_path):
    ledger = await opened(tmp_path / "ledger.db")
    assert await ledger.listen(pytest.fail) is None
    await ledger.aclose()


async def test_unknown_schemes_are_refused():
    with pytest.raises(LedgerError, match="mysql"):
        open_ledger("mysql://host/db")


async def test_writes_that_wait_together_share_a_commit_and_fail_alone(tmp_path, make):
    ledger = await opened(tmp_path / "ledger.db")
    commits = await trace(ledger, "COMMIT")
    final = make.batch("b0", "completed")
    taken = make.created("openai", make.batch("b7"))  # the id of an event that b7 has recorded by then
    await make.record(ledger, batch=make.batch("b0"))
    claim = await ledger.claim("openai", "b0", owner="w", lease_seconds=60)
    commits.clear()
    wrong = ledger.settle(claim, make.settlement("openai", final), {}, taken)
    right = [make.record(ledger, batch=make.batch(f"b{number}")) for number in range(1, 41)]
    *recorded, failed = await asyncio.gather(*right, wrong, return_exceptions=True)
    assert [tracked.batch_id for tracked in recorded] == [f"b{number}" for number in range(1, 41)]
    assert isinstance(failed, LedgerError)
    assert (await ledger.get_batch("b0")).settled_at is None
    assert len(await ledger.events()) == 41
    assert len(commits) < 20
    await ledger.aclose()


async def trace(ledger, word):
    seen = []
    database = ledger.database
    await database._hop(
        lambda: database._connection.set_trace_callback(lambda sql: seen.append(sql) if sql == word else None)
    )
    return seen


async def test_a_cancelled_write_does_not_stop_the_next(tmp_path, make):
    ledger = await opened(tmp_path / "ledger.db")
    tasks = [asyncio.create_task(make.record(ledger)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await make.record(ledger)
    batches = await ledger.list_batches()
    assert 6 <= len(batches) <= 11
    assert len(batches) == len(await ledger.events())
    await ledger.aclose()


async def test_a_write_follows_soon_when_another_process_has_ended_its_own(tmp_path, make, monkeypatch):
    """SQLite alone would look ever more rarely, up to each 100 ms."""
    ledger, pauses = await opened(tmp_path / "ledger.db"), []
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 12:
            other.execute("COMMIT")

    monkeypatch.setattr(sqlite_file, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
    other.execute("BEGIN IMMEDIATE")
    await make.record(ledger)
    assert len(pauses) == 12, "the next look finds that it has ended"
    (turn,) = await ledger.database._hop(lambda: ledger.database._connection.execute("PRAGMA busy_timeout").fetchone())
    assert turn / 1000 + max(pauses) < 0.02, "seconds between two looks"
    other.close()
    await ledger.aclose()


@contextmanager
def busy(path, times):
    """Work that another process is in the way of, so often; it tells how often it was tried."""
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as holder,
        closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as asker,
    ):
        holder.execute("BEGIN EXCLUSIVE")
        tries = 0

        def work():
            nonlocal tries
            tries += 1
            if tries > times:
                holder.rollback()
            asker.execute("SELECT count(*) FROM sqlite_master").fetchall()
            return tries

        yield work


def test_what_is_refused_for_a_moment_is_done_anew_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "one.db"
    with busy(path, 3) as work:
        assert sqlite_file.patiently(work) == 4
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.OperationalError, match="no such table"):
        sqlite_file.patiently(lambda: connection.execute("SELECT * FROM missing"))
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.0)
    with busy(path, 1_000_000) as work, pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite_file.patiently(work)


async def test_a_lock_that_stays_is_explained(tmp_path, make, monkeypatch):
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.02)
    ledger = await opened(tmp_path / "ledger.db")
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="another process has kept it locked"):
        await make.record(ledger)
    other.execute("ROLLBACK")
    await make.record(ledger)
    other.close()
    await ledger.aclose()
