"""Connects to and migrates a PostgreSQL ledger, and says in plain words what is wrong with the server."""

import time

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import PoolTimeout

from batchmeter.errors import LedgerError
from batchmeter.ledger.schema import Migration, load_migrations, no_ledger, pending

CONNECT_SECONDS = 10

_MIGRATION_LOCK = 4702111234474983745
_VERSIONS = b"""CREATE TABLE IF NOT EXISTS batchmeter.schema_version (
    version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at bigint NOT NULL
)"""

_REMEDIES: tuple[tuple[type[Exception], str], ...] = (
    (psycopg.errors.InvalidPassword, "the server refuses this user or password: check both in the URL"),
    (psycopg.errors.InvalidAuthorizationSpecification, "the server refuses this user: check the URL"),
    (psycopg.errors.InvalidCatalogName, "this database does not exist: create it (createdb NAME)"),
    (psycopg.errors.InsufficientPrivilege, "this user may not: GRANT CREATE ON DATABASE … TO it, or use the owner"),
    (psycopg.errors.UndefinedTable, "the schema `batchmeter` is not complete: run `batchmeter ledger migrate`"),
    (psycopg.errors.InvalidSchemaName, "the schema `batchmeter` is gone: run `batchmeter ledger migrate`"),
    (psycopg.errors.DiskFull, "the server's disk is full: free some space; nothing half-done was written"),
    (psycopg.errors.ReadOnlySqlTransaction, "the server is a read-only standby: use the primary's address"),
    (psycopg.errors.TooManyConnections, "the server has no connection left: raise max_connections, or use a pooler"),
    (psycopg.DataError, "a value cannot be stored as text (a NUL character in an id?)"),
    (psycopg.ProgrammingError, "the URL or the schema is not right"),
    (psycopg.OperationalError, "the server cannot be reached: check host, port and that it runs"),
    (PoolTimeout, "no connection in time: check that the server runs and is not overloaded"),
)
_CONNECT_REMEDIES = (
    ("password authentication failed", "the server refuses this user or password: check both in the URL"),
    ("no password supplied", "the server wants a password: put it in the URL, PGPASSWORD or ~/.pgpass"),
    ("no pg_hba.conf entry", "the server lets this user, host or database not in: ask who runs it"),
    ('FATAL:  role "', "the server does not know this user: check the URL"),
    ('FATAL:  database "', "this database does not exist: create it (createdb NAME), or check the URL"),
)
"""The server's words, because a refused connection has no error code."""
_RESTARTING = ("the database system is", "server closed the connection")
"""Of a server that is on its way down or up."""
_PASSING = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)
"""Lost or refused connections, restarts, deadlocks, serialisation failures."""
_LASTING = (
    psycopg.errors.InvalidPassword,
    psycopg.errors.InvalidAuthorizationSpecification,
    psycopg.errors.DiskFull,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.QueryCanceled,
)


def public_url(url: str) -> str:
    """Who, where and which database; nothing secret."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise LedgerError("the ledger's PostgreSQL URL cannot be read: postgresql://user@host:5432/database") from None
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host') or 'localhost'}{port}/{parts.get('dbname') or ''}"


async def prepare(conninfo: str, url: str, *, create: bool) -> None:
    """Migrates what is older, under a lock; one connection, so that its failure says more than a pool's would."""
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS)
    async with connection:
        applied = await _applied(connection)
        if not applied and not create:
            raise no_ledger(url)
        if pending(url, load_migrations("batchmeter_postgres"), applied):
            await _migrate(connection, url)


async def _migrate(connection: psycopg.AsyncConnection[TupleRow], url: str) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        await connection.execute("CREATE SCHEMA IF NOT EXISTS batchmeter")
        await connection.execute(_VERSIONS)
        for migration in pending(url, load_migrations("batchmeter_postgres"), await _applied(connection)):
            await _apply(connection, migration)


async def _applied(connection: psycopg.AsyncConnection[TupleRow]) -> dict[int, str]:
    cursor = await connection.execute("SELECT to_regclass('batchmeter.schema_version')")
    if await cursor.fetchone() == (None,):
        return {}
    cursor = await connection.execute("SELECT version, checksum FROM batchmeter.schema_version")
    return dict(await cursor.fetchall())


async def _apply(connection: psycopg.AsyncConnection[TupleRow], migration: Migration) -> None:
    await connection.execute(migration.sql.encode())
    await connection.execute(
        "INSERT INTO batchmeter.schema_version VALUES (%s, %s, %s, %s)",
        (migration.version, migration.name, migration.checksum, time.time_ns() // 1_000_000),
    )


def passing(error: Exception) -> bool:
    return isinstance(error, _PASSING) and not isinstance(error, _LASTING)


def restarting(error: Exception) -> bool:
    return isinstance(error, psycopg.OperationalError) and any(words in str(error) for words in _RESTARTING)


def explain(error: Exception, url: str) -> LedgerError:
    message = str(error).strip()
    refused = (text for words, text in _CONNECT_REMEDIES if words in message)
    remedy = next(refused, None) or next((text for kind, text in _REMEDIES if isinstance(error, kind)), None)
    detail = message.splitlines()[0] if message else type(error).__name__
    return LedgerError(f"{url}: {remedy} ({detail})" if remedy else f"{url}: {detail}")
