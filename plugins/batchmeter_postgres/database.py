"""The PostgreSQL engine: a pool of connections, set-based statements, the server's clock."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar, cast

from batchmeter.errors import LedgerError

try:
    import psycopg
    from psycopg.rows import DictRow
    from psycopg_pool import AsyncConnectionPool, PoolTimeout
except ImportError as error:
    raise LedgerError("a PostgreSQL ledger needs its driver: pip install 'batchmeter[postgres]'") from error

from batchmeter.engines import load_statements
from batchmeter.ledger.session import (
    Millis,
    Result,
    Row,
    Statement,
    Topic,
    Work,
)

from . import server, signals
from .outage import Outage
from .server import Connection

Returned = TypeVar("Returned")
log = logging.getLogger("batchmeter")

POOL_SIZE = 8
POOL_NAME = "batchmeter-ledger"
PATIENCE_SECONDS = 20.0
"""How long a transaction is tried again while the server is away: a restart or a failover."""
WARN_SECONDS = 1.0
"""A transaction that waits longer says so in the log, once in an outage."""
CONNECTION_SECONDS = 5.0
"""How long it waits for a connection at a time. The pool doubles its pauses; asked again, it begins with short ones."""

_BEGIN = b"BEGIN"
_UNHURRIED = b"BEGIN; SET LOCAL synchronous_commit TO off"
"""Does not wait for the disk: milliseconds saved on each poll, which repairs itself if a power cut loses it."""
_SLICE = 100
"""Rows decoded before the event loop gets a turn."""
_CLOCK_SECONDS = 30.0
"""How long the offset to the server's clock is trusted."""


_BY_COLUMN = frozenset({"claim_batches", "due_batches", "lock_batches", "observe_batches"})
"""Statements that take all items at once, as one array a column."""


def statements() -> Mapping[str, Statement]:
    return load_statements("batchmeter_postgres", "postgres.sql")


class PostgresSession:
    spare = 4

    def __init__(self, connection: Connection, now: Millis) -> None:
        self.signals: set[Topic] = set()
        self._connection = connection
        self._statements = statements()
        self.now = now

    def has(self, statement: str) -> bool:
        return statement in self._statements

    def statement(self, text: str, /) -> Statement:
        return Statement("generated", text)

    def signal(self, topic: Topic) -> None:
        self.signals.add(topic)

    async def rows(self, statement: str | Statement, /, **parameters: object) -> list[Row]:
        return cast("list[Row]", await (await self._execute(statement, parameters)).fetchall())

    async def row(self, statement: str | Statement, /, **parameters: object) -> Row | None:
        return cast("Row | None", await (await self._execute(statement, parameters)).fetchone())

    async def run(self, statement: str | Statement, /, **parameters: object) -> int:
        return (await self._execute(statement, parameters)).rowcount

    async def each(
        self, statement: str | Statement, items: Sequence[Mapping[str, object]], /, **parameters: object
    ) -> list[Row]:
        if not items:
            return []
        text = self._named(statement).text(parameters)
        if statement in _BY_COLUMN:
            columns = {name: [item[name] for item in items] for name in items[0]}
            cursor = await self._execute(statement, {**parameters, **columns})
            return cast("list[Row]", await cursor.fetchall()) if cursor.description else []
        cursor = self._connection.cursor()
        values = [{"now": self.now, **parameters, **item} for item in items]
        await cursor.executemany(text.encode(), values, returning="RETURNING" in text or text.startswith("SELECT"))
        rows: list[Row] = []
        while True:
            if cursor.description:
                rows += cast("list[Row]", await cursor.fetchall())
            if not cursor.nextset():
                return rows

    async def decoded(self, rows: Sequence[Row], decode: Callable[[Row], Result], /) -> list[Result]:
        results: list[Result] = []
        for start in range(0, len(rows), _SLICE):
            results += [decode(row) for row in rows[start : start + _SLICE]]
            await asyncio.sleep(0)
        return results

    async def _execute(
        self, statement: str | Statement, parameters: Mapping[str, object]
    ) -> psycopg.AsyncCursor[DictRow]:
        values = {"now": self.now, **parameters}
        return await self._connection.execute(self._named(statement).text(values).encode(), values)

    def _named(self, statement: str | Statement) -> Statement:
        return statement if isinstance(statement, Statement) else self._statements[statement]


class PostgresSnapshot:
    """A read transaction on a connection of its own, open until it is closed."""

    def __init__(self, session: PostgresSession, url: str) -> None:
        self._session = session
        self._url = url

    async def read(self, work: Work[Result]) -> Result:
        try:
            return await work(self._session)
        except (psycopg.Error, UnicodeEncodeError) as error:
            raise server.explain(error, self._url) from error


class PostgresDatabase:
    """Any number of processes on any number of machines may share the database."""

    def __init__(self, url: str, *, clock: Callable[[], Millis] | None = None) -> None:
        self.url = server.public_url(url)
        self._conninfo = url
        self._fixed_clock = clock
        self._offset = 0.0
        self._offset_at = float("-inf")
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._announcer: signals.Announcer | None = None
        self._pooled = False
        """A pooler stands between: no prepared statements, nothing to listen to."""
        self._outage = Outage(self.url)

    def now(self) -> Millis:
        """The server's clock, by an offset measured against ours that only runs forward."""
        return self._fixed_clock() if self._fixed_clock else round((time.monotonic() + self._offset) * 1000)

    async def open(self, *, create: bool, wait: bool) -> None:
        if self._pool is not None:
            return
        connection, self._pooled = await self._prepare(create=create, wait=wait)
        pool = _pool(self._conninfo, connection, pooled=self._pooled)
        try:
            await pool.open(wait=True)
        except BaseException:
            await pool.close()
            await connection.close()  # which the pool may not have taken yet
            raise
        self._pool, self._announcer = pool, signals.Announcer(pool)

    async def _prepare(self, *, create: bool, wait: bool) -> tuple[Connection, bool]:
        """A server that restarts at this moment is waited for; other trouble that passes only if asked to."""

        async def attempt() -> tuple[Connection, bool]:
            try:
                return await server.prepare(self._conninfo, self.url, self._set_clock, create=create)
            except psycopg.Error as error:
                if wait or server.restarting(error):
                    raise
                raise server.explain(error, self.url) from error

        return await self._patiently(attempt, writes=False)

    async def aclose(self) -> None:
        pool, self._pool = self._pool, None
        announcer, self._announcer = self._announcer, None
        if announcer is not None:
            await announcer.aclose()
        if pool is not None:
            await pool.close()

    def of_one(self, error: Exception) -> bool:
        refused = isinstance(error.__cause__, psycopg.IntegrityError | psycopg.DataError | UnicodeEncodeError)
        return refused or not isinstance(error, LedgerError)

    async def listen(self, heard: Callable[[Topic], None]) -> None:
        if not self._pooled:
            await signals.listen(self._conninfo, heard)

    async def read(self, work: Work[Result]) -> Result:
        return await self._patiently(lambda: self._transaction(work, _BEGIN), writes=False)

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[PostgresSnapshot]:
        stack, session = await self._patiently(self._begin_snapshot, writes=False)
        async with stack:
            yield PostgresSnapshot(session, self.url)

    async def _begin_snapshot(self) -> tuple[AsyncExitStack, PostgresSession]:
        """The session of an open transaction, and what ends it."""
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._connection())
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", prepare=False)
            return stack.pop_all(), PostgresSession(connection, self.now())

    async def write(self, work: Work[Result], *, durable: bool = False) -> Result:
        return await self._patiently(lambda: self._transaction(work, _BEGIN if durable else _UNHURRIED))

    async def at_once(
        self, steps: Sequence[tuple[Statement, Mapping[str, object]]], *, durable: bool = False
    ) -> list[list[Row]]:
        """A transaction as one message: no lock is held while the server waits for this process. The rows of each step."""
        return await self._patiently(lambda: self._message(steps, _BEGIN if durable else _UNHURRIED))

    async def _patiently(self, attempt: Callable[[], Awaitable[Result]], *, writes: bool = True) -> Result:
        transaction = object()
        try:
            result = await self._repeatedly(attempt, transaction)
        finally:
            self._outage.release(transaction)
        self._outage.worked(wrote=writes)
        return result

    async def _repeatedly(self, attempt: Callable[[], Awaitable[Result]], transaction: object) -> Result:
        """Every transaction may be repeated: it is fenced or keyed, so a commit we did not hear of does no harm."""
        began, pause, cancels, dead = time.monotonic(), 0.05, _cancels(), POOL_SIZE
        while True:
            try:
                return await attempt()
            except (psycopg.Error, PoolTimeout, UnicodeEncodeError) as error:
                if _cancels() > cancels:  # a lost connection's error has taken the cancellation's place
                    raise asyncio.CancelledError from error
                if dead and self._pool is not None and server.lost(error):
                    dead -= 1  # a restart of the server leaves a pool of them; each is discarded when it is met
                    continue
                waited = time.monotonic() + pause - began
                if not server.passing(error) or waited > PATIENCE_SECONDS:
                    raise await self._explained(error) from error
                if waited > WARN_SECONDS:
                    await self._outage.hold(transaction, error, partial(self._explained, error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)

    async def _explained(self, error: Exception) -> LedgerError:
        reason = await server.trouble(self._conninfo) if isinstance(error, PoolTimeout) else None
        return server.explain(reason or error, self.url)

    async def _transaction(self, work: Work[Result], begin: bytes) -> Result:
        async with self._connection() as connection:  # whose end rolls back
            await self._set_clock(connection)
            session = PostgresSession(connection, self.now())
            try:
                await connection.execute(begin, prepare=False)  # one round trip; `connection.transaction()` makes two
                result = await work(session)
                await connection.commit()  # here: a connection that is closed by now would leave it out in silence
            except psycopg.errors.ReadOnlySqlTransaction:
                await connection.close()  # to a server that is a standby now: the next one may lead to the primary
                raise
        if self._announcer is not None:
            self._announcer.announce(session.signals)
        return result

    async def _message(self, steps: Sequence[tuple[Statement, Mapping[str, object]]], begin: bytes) -> list[list[Row]]:
        async with self._connection() as connection:  # whose end rolls back
            await self._set_clock(connection)
            literal = psycopg.AsyncClientCursor(connection)
            given = [(statement, {"now": self.now(), **values}) for statement, values in steps]
            texts = [literal.mogrify(statement.text(values).encode(), values) for statement, values in given]
            text = ";\n".join([begin.decode(), *texts, "COMMIT"])
            cursor = await connection.execute(text.encode(), prepare=False)
            found: list[list[Row]] = []
            while True:
                found.append(cast("list[Row]", await cursor.fetchall()) if cursor.description else [])
                if not cursor.nextset():
                    first = begin.count(b";") + 1
                    return found[first:-1]

    def _connection(self) -> AbstractAsyncContextManager[Connection]:
        if self._pool is None:
            raise LedgerError(f"{self.url} is closed: use it inside `async with`, or call open() first")
        return self._pool.connection()

    async def _set_clock(self, connection: Connection) -> None:
        started = time.monotonic()
        if self._fixed_clock or started - self._offset_at < _CLOCK_SECONDS:
            return
        cursor = await connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8 AS now")
        row = await cursor.fetchone()
        assert row is not None
        self._offset_at = time.monotonic()
        self._offset = float(row["now"]) - (started + self._offset_at) / 2


def _cancels() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def _is_news(record: logging.LogRecord) -> bool:
    """Of our own pool's trouble the log is told once, by us."""
    subject = record.args[0] if isinstance(record.args, tuple) and record.args else None
    return subject != POOL_NAME and not isinstance(subject, Connection)


logging.getLogger("psycopg.pool").addFilter(_is_news)


def _pool(conninfo: str, first: Connection, *, pooled: bool) -> "AsyncConnectionPool[Connection]":
    return AsyncConnectionPool(
        conninfo,
        connection_class=Connection,
        kwargs={"made": [first], **server.SETTINGS, **({"prepare_threshold": None} if pooled else {})},
        min_size=1,
        max_size=POOL_SIZE,
        timeout=CONNECTION_SECONDS,
        reconnect_timeout=CONNECTION_SECONDS,
        name=POOL_NAME,
        open=False,
    )
