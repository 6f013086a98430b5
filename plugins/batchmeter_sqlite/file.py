"""Opens and migrates a SQLite ledger file, and says in plain words what is wrong with one."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from batchmeter.engines import Migration, load_migrations, no_ledger, not_text, pending
from batchmeter.errors import LedgerError
from batchmeter.ledger.session import Millis

Result = TypeVar("Result")

MEMORY = ":memory:"
BUSY_SECONDS = 30.0
"""How long to wait for another process's write to finish."""
TROUBLE = (sqlite3.Error, OSError, UnicodeEncodeError)
"""Errors that `explain` puts into words."""

_TURN_MILLIS = 8
"""How long SQLite itself waits for its turn to write. It looks ever more rarely, up to every 100 ms, and between processes
that write much the file would lie idle for most of that: so `patiently` has it start anew after this."""
_GAP_SECONDS = 0.001
"""SQLite does not always wait before it says that it is busy."""

_APPLICATION_ID = 0x6274_6D72  # "btmr" in the file's header: `file ledger.db` and we can tell what it is
_SETTINGS = (
    f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -16384",
    "PRAGMA mmap_size = 67108864",
)
"""Kibibytes of pages, and bytes of the file in memory: a process's share of a ledger of any size stays below 80 MB."""
_VERSIONS = """CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL
) STRICT"""

_REMEDIES = {
    "SQLITE_NOTADB": "the file is not a ledger (not a SQLite database): move it away, or set BATCHMETER_LEDGER",
    "SQLITE_CORRUPT": "the file is damaged: restore a backup, or save what is readable with `sqlite3 FILE .recover`",
    "SQLITE_FULL": "the disk (or quota) is full: free some space; nothing half-done was written",
    "SQLITE_READONLY": "the file or its folder is read-only: give this user write permission to both",
    "SQLITE_CANTOPEN": "the file cannot be opened: check that its folder exists and is readable and writable",
    "SQLITE_BUSY": f"another process has kept it locked for {BUSY_SECONDS:.0f} s: find and stop it",
    "SQLITE_LOCKED": f"another process has kept it locked for {BUSY_SECONDS:.0f} s: find and stop it",
    "SQLITE_IOERR": "the disk failed to read or write: check the disk and its free space",
    "SQLITE_PERM": "access was denied: give this user permission to the file and its folder",
}


def connect(path: str, clock: Callable[[], Millis], *, create: bool = True) -> sqlite3.Connection:
    """An open, migrated connection; to be used on this thread only, and `patiently`."""
    if path != MEMORY:
        _check_place(Path(path), create=create)
        _create_private(Path(path))
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        connection.row_factory = sqlite3.Row
        for setting in _SETTINGS:
            connection.execute(setting)
        _write_ahead(connection)
        _migrate(connection, path, clock())
        connection.execute(f"PRAGMA busy_timeout = {_TURN_MILLIS}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(path: str) -> sqlite3.Connection:
    """A read transaction, open until the connection is closed; on any one thread at a time."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        for setting in (*_SETTINGS, "PRAGMA query_only = ON"):
            connection.execute(setting)
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_master").fetchall()  # the first read chooses the moment
    except BaseException:
        connection.close()
        raise
    return connection


def copy_of_memory(source: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)
    copy.row_factory = sqlite3.Row
    source.backup(copy)
    return copy


def patiently(work: Callable[[], Result]) -> Result:
    """Its result, as soon as no other process is in the way; `work` is done anew until then."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not _code(error).startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(_GAP_SECONDS)


def _check_place(file: Path, *, create: bool) -> None:
    if file.is_dir():
        raise LedgerError(f"{file} is a folder: name a file in it, such as {file / 'ledger.db'}")
    if not file.parent.is_dir():
        raise LedgerError(f"{file}: the folder {file.parent} does not exist: create it, or set BATCHMETER_LEDGER")
    if not create and not file.exists():
        raise no_ledger(str(file))


def _create_private(file: Path) -> None:
    """Readable for its user only, and so are the files that SQLite puts beside it. One that exists keeps its mode."""
    if not file.exists():
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))


def _write_ahead(connection: sqlite3.Connection) -> None:
    """WAL lets readers and the writer work at once. Switching needs the file alone, and SQLite does not wait for that."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if _code(error) != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(connection: sqlite3.Connection, path: str, now: Millis) -> None:
    known = load_migrations("batchmeter_sqlite")
    _refuse_foreign(connection, path)
    if not pending(path, known, _applied(connection)):
        return
    connection.execute("BEGIN IMMEDIATE")  # the lock under which one of several openers migrates
    try:
        connection.execute(_VERSIONS)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        for migration in pending(path, known, _applied(connection)):
            _apply(connection, migration, now)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse_foreign(connection: sqlite3.Connection, path: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != _APPLICATION_ID:
        raise LedgerError(f"{path} is the SQLite database of another program: set BATCHMETER_LEDGER to another file")


def _applied(connection: sqlite3.Connection) -> dict[int, str]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchall():
        return {}
    return {
        row["version"]: row["checksum"] for row in connection.execute("SELECT version, checksum FROM schema_version")
    }


def _apply(connection: sqlite3.Connection, migration: Migration, now: Millis) -> None:
    for statement in _split(migration.sql):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO schema_version VALUES (?, ?, ?, ?)", (migration.version, migration.name, migration.checksum, now)
    )


def _split(script: str) -> Iterator[str]:
    """Statement by statement: executescript() would commit first and give up the lock."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if line.rstrip().endswith(";") and sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def explain(error: Exception, path: str) -> LedgerError:
    if isinstance(error, UnicodeEncodeError):
        return not_text(path, error)
    code = _code(error)
    remedy = next((text for name, text in _REMEDIES.items() if code.startswith(name)), None)
    return LedgerError(f"{path}: {remedy} ({error})" if remedy else f"{path}: {error}")


def _code(error: Exception) -> str:
    return str(getattr(error, "sqlite_errorname", ""))
