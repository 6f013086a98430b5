"""Connects to and migrates a PostgreSQL ledger, and says in plain words what is wrong with the server."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import PoolTimeout

from batchmeter.engines import Migration, load_migrations, no_ledger, not_text, pending
from batchmeter.errors import LedgerError

CONNECT_SECONDS = 10
SETTINGS: Mapping[str, Any] = {"autocommit": True, "row_factory": dict_row}
"""Settings of every connection of the pool."""

_MIGRATION_LOCK = 4702111234474983745
_VERSIONS = b"""CREATE TABLE IF NOT EXISTS batchmeter.schema_version (
    version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at bigint NOT NULL
)"""

_FULL = "the server has no connection left: raise max_connections, or use a pooler"
_REMEDIES: tuple[tuple[type[Exception], str], ...] = (
    (psycopg.errors.InvalidPassword, "the server refuses this user or password: check both in the URL"),
    (psycopg.errors.InvalidAuthorizationSpecification, "the server refuses this user: check the URL"),
    (psycopg.errors.InvalidCatalogName, "this database does not exist: create it (createdb NAME)"),
    (psycopg.errors.InsufficientPrivilege, "this user may not: GRANT CREATE ON DATABASE … TO it, or use the owner"),
    (psycopg.errors.UndefinedTable, "the schema `batchmeter` is not complete: run `batchmeter ledger migrate`"),
    (psycopg.errors.InvalidSchemaName, "the schema `batchmeter` is gone: run `batchmeter ledger migrate`"),
    (psycopg.errors.DiskFull, "the server's disk is full: free some space; nothing half-done was written"),
    (psycopg.errors.ReadOnlySqlTransaction, "the server is a read-only standby: use the primary's address"),
    (psycopg.errors.TooManyConnections, _FULL),
    (psycopg.errors.QueryCanceled, "the server cut a statement short: raise statement_timeout for this user"),
    (psycopg.DataError, "a value cannot be stored as text (a NUL character in an id?)"),
    (psycopg.ProgrammingError, "the URL or the schema is not right"),
    (psycopg.OperationalError, "the server cannot be reached: check host, port and that it runs"),
    (PoolTimeout, "no connection in time: check that the server runs and is not overloaded"),
)
_REFUSED = (
    ("password authentication failed", "the server refuses this user or password: check both in the URL"),
    ("no password supplied", "the server wants a password: put it in the URL, PGPASSWORD or ~/.pgpass"),
    ("no pg_hba.conf entry", "the server lets this user, host or database not in: ask who runs it"),
    ('FATAL:  role "', "the server does not know this user: check the URL"),
    ('FATAL:  database "', "this database does not exist: create it (createdb NAME), or check the URL"),
    ("no such user", "the pooler does not know this user: check the URL, or its auth_file"),
    ("no such database", "the pooler does not know this database: check the URL, or its [databases]"),
)
"""The server's words, because a refused connection has no error code; so it stays until somebody changes something."""
_CROWDED = (
    ("too many clients", _FULL),
    ("remaining connection slots", _FULL),
    ("too many connections", _FULL),
    ("no more connections allowed", "the pooler has no connection left: raise its max_client_conn"),
)
"""Likewise; it passes."""
_RESTARTING = ("the database system is", "server closed the connection")
"""The words of a server that is on its way down or up."""
_PASSING = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
    PoolTimeout,
)
"""Lost or refused connections, restarts, failovers, time-outs, deadlocks, serialisation failures."""
_LASTING = (
    psycopg.errors.InvalidPassword,
    psycopg.errors.InvalidAuthorizationSpecification,
    psycopg.errors.DiskFull,
    psycopg.errors.ProgramLimitExceeded,
)


class Connection(psycopg.AsyncConnection[DictRow]):
    """A connection of the ledger's pool, told from other pools' by its class."""

    @classmethod
    async def connect(cls, conninfo: str = "", **settings: Any) -> Self:
        """One of the setting `made`, while there are any: the pool begins with the one that found the ledger in order."""
        made: list[Self] = settings.pop("made", [])
        return made.pop() if made else await super().connect(conninfo, **settings)


def public_url(url: str) -> str:
    """User, host and database; nothing secret."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise LedgerError("the ledger's PostgreSQL URL cannot be read: postgresql://user@host:5432/database") from None
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host') or 'localhost'}{port}/{parts.get('dbname') or ''}"


async def prepare(
    conninfo: str, url: str, set_clock: Callable[[Connection], Awaitable[None]], *, create: bool
) -> tuple[Connection, bool]:
    """Migrates what is older, under a lock. Returns its connection, whose failure says more than a pool's would.

    And True behind a pooler: another session may serve each transaction, so nothing may be left in one.
    """
    connection = await Connection.connect(conninfo, **SETTINGS, connect_timeout=CONNECT_SECONDS)
    try:
        threshold, connection.prepare_threshold = connection.prepare_threshold, None
        backend = await _upgrade(connection, url, create=create)
        await set_clock(connection)
    except BaseException:
        await connection.close()
        raise
    pooled = backend != connection.info.backend_pid  # a pooler gives its clients numbers of its own
    connection.prepare_threshold = None if pooled else threshold
    return connection, pooled


async def trouble(conninfo: str) -> psycopg.Error | None:
    """The reason why there is no connection, which a pool does not tell."""
    try:
        connection = await psycopg.AsyncConnection.connect(conninfo, connect_timeout=2)
    except psycopg.Error as error:
        return error
    await connection.close()
    return None


async def _upgrade(connection: Connection, url: str, *, create: bool) -> int:
    """Returns the number of the server's process."""
    applied, backend = await _applied(connection)
    if not applied and not create:
        raise no_ledger(url)
    if pending(url, load_migrations("batchmeter_postgres"), applied):
        await _migrate(connection, url)
    return backend


async def _migrate(connection: Connection, url: str) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        await connection.execute("CREATE SCHEMA IF NOT EXISTS batchmeter")
        await connection.execute(_VERSIONS)
        applied, _ = await _applied(connection)
        for migration in pending(url, load_migrations("batchmeter_postgres"), applied):
            await _apply(connection, migration)


async def _applied(connection: Connection) -> tuple[dict[int, str], int]:
    """Version -> checksum of the migrations that the ledger has, and the number of the server's process."""
    cursor = await connection.execute(
        "SELECT to_regclass('batchmeter.schema_version') IS NOT NULL AS made, pg_backend_pid() AS backend"
    )
    (found,) = await cursor.fetchall()
    if not found["made"]:
        return {}, found["backend"]
    cursor = await connection.execute("SELECT version, checksum FROM batchmeter.schema_version")
    return {row["version"]: row["checksum"] for row in await cursor.fetchall()}, found["backend"]


async def _apply(connection: Connection, migration: Migration) -> None:
    await connection.execute(migration.sql.encode())
    await connection.execute(
        "INSERT INTO batchmeter.schema_version VALUES (%s, %s, %s, %s)",
        (migration.version, migration.name, migration.checksum, time.time_ns() // 1_000_000),
    )


def passing(error: Exception) -> bool:
    """Whether the same may succeed a little later."""
    lasting = isinstance(error, _LASTING) or any(words in str(error) for words, _ in _REFUSED)
    return isinstance(error, _PASSING) and not lasting


def restarting(error: Exception) -> bool:
    return isinstance(error, psycopg.OperationalError) and any(words in str(error) for words in _RESTARTING)


def lost(error: Exception) -> bool:
    """Whether it says that an open connection is dead: by the driver, or by the server as it ends one."""
    state = error.sqlstate if isinstance(error, psycopg.OperationalError) else ""
    return not isinstance(error, PoolTimeout) and (state is None or state.startswith("57P"))


def explain(error: Exception, url: str) -> LedgerError:
    if isinstance(error, UnicodeEncodeError):
        return not_text(url, error)
    message = str(error).strip()
    refused = (text for words, text in (*_REFUSED, *_CROWDED) if words in message)
    remedy = next(refused, None) or next((text for kind, text in _REMEDIES if isinstance(error, kind)), None)
    detail = message.splitlines()[0] if message else type(error).__name__
    return LedgerError(f"{url}: {remedy} ({detail})" if remedy else f"{url}: {detail}")
