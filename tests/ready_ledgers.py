"""New SQLite ledgers of tests begin as a copy of one that is migrated: the copy takes a twentieth of the migrations."""

import sqlite3
import threading
from functools import cache

import batchmeter_sqlite.file
from batchmeter.engines import Migration

_migrate = batchmeter_sqlite.file._migrate
_TURN = threading.Lock()


def use() -> None:
    """From now on, in this process. What the migrations are decides which copy; they run once."""
    batchmeter_sqlite.file._migrate = _copy_and_migrate


@cache
def _made(_migrations: tuple[Migration, ...]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    _migrate(connection, ":memory:", 0)
    return connection


def _copy_and_migrate(connection: sqlite3.Connection, path: str, now: int) -> None:
    with _TURN:
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchall():
            _made(batchmeter_sqlite.file.load_migrations("batchmeter_sqlite")).backup(connection)
    _migrate(connection, path, now)
