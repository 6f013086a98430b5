"""The SQLite engine: one connection on one dedicated thread, one hop to it per transaction."""

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast
from weakref import WeakSet

from batchmeter.engines import load_statements, translate
from batchmeter.errors import LedgerError
from batchmeter.ledger.session import (
    Millis,
    Result,
    Row,
    Statement,
    Topic,
    Work,
)

from . import file

Returned = TypeVar("Returned")

WORDS = (
    (r"batchmeter\.", ""),
    (r"= ANY\(%\((\w+)\)s(::\w+\[\])?\)", r"IN (SELECT value FROM json_each(:\1))"),
    (r"%\((\w+)\)[sb]", r":\1"),
    (r"::(double precision|[a-z]+)(\[\])?", ""),
    (r"\bgreatest\(", "max("),
    (r"\bleast\(", "min("),
    (r"\bstrpos\(", "instr("),
    (r"\bkey_of\((\w+)\)", r"json_extract(\1, '$.key')"),
    (r" FOR (NO KEY )?UPDATE( OF \w+)?( SKIP LOCKED)?", ""),
)
"""PostgreSQL's words in the statements that engines share -> SQLite's."""
GROUP = 64
"""Writes that share a commit at most, so that nobody waits long behind others."""
FORK_SECONDS = 5.0
"""How long a fork waits for a job to end."""
Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Thread:
    """One thread with a queue: works off one job after the other; its results go back to the event loops they came from.

    An executor's futures, locks and contexts cost more than most of the ledger's transactions; this is the hop alone.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self.at_work = threading.Lock()
        _THREADS.add(self)
        # A daemon: a process that ends without closing its ledger must not hang on it.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], Returned]) -> Returned:
        """Its result or error. A caller that is cancelled no longer waits; the work is done all the same."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._jobs.put((loop, future, work))
        return cast("Returned", await future)

    def stop(self) -> None:
        """Close after all waiting work is done."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, work = job
            try:
                with self.at_work:
                    result = work()
            except BaseException as error:  # noqa: BLE001 - for whoever waits
                _tell(loop, _fail, future, error)
            else:
                _tell(loop, _succeed, future, result)
            del job, future, work  # or the last job's objects would live until the next


def _tell(
    loop: asyncio.AbstractEventLoop,
    how: Callable[["asyncio.Future[Any]", Any], None],
    future: "asyncio.Future[Any]",
    outcome: object,
) -> None:
    try:
        loop.call_soon_threadsafe(how, future, outcome)
    except RuntimeError:
        return  # the loop has ended, and nobody waits any more


def _succeed(future: "asyncio.Future[Any]", result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def statements() -> Mapping[str, Statement]:
    return load_statements("batchmeter_sqlite", "sqlite.sql", WORDS)


def wall_clock() -> Millis:
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=256)
def _generated(text: str) -> Statement:
    return Statement("generated", translate(text, WORDS))


class SqliteSession:
    """A transaction on the ledger's thread. Its coroutines never wait, so they run there to their end."""

    spare = 1

    def __init__(self, connection: sqlite3.Connection, now: Millis) -> None:
        self._connection = connection
        self._statements = statements()
        self.now = now

    def has(self, statement: str) -> bool:
        return statement in self._statements

    def statement(self, text: str, /) -> Statement:
        return _generated(text)

    def signal(self, topic: Topic) -> None:
        """SQLite has no way to tell other processes: they poll."""

    async def rows(self, statement: str | Statement, /, **parameters: object) -> list[Row]:
        return cast("list[Row]", self._execute(statement, parameters).fetchall())

    async def row(self, statement: str | Statement, /, **parameters: object) -> Row | None:
        found = self._execute(statement, parameters).fetchall()  # to the end: RETURNING may not be left half-read
        return cast("Row", found[0]) if found else None

    async def run(self, statement: str | Statement, /, **parameters: object) -> int:
        return self._execute(statement, parameters).rowcount

    async def each(
        self, statement: str | Statement, items: Sequence[Mapping[str, object]], /, **parameters: object
    ) -> list[Row]:
        found: list[Row] = []
        for item in items:
            found += cast("list[Row]", self._execute(statement, {**parameters, **item}).fetchall())
        return found

    async def decoded(self, rows: Sequence[Row], decode: Callable[[Row], Result], /) -> list[Result]:
        return [decode(row) for row in rows]

    def _execute(self, statement: str | Statement, parameters: Mapping[str, object]) -> sqlite3.Cursor:
        values = {"now": self.now, **parameters}
        for name, value in parameters.items():
            if isinstance(value, list):  # for json_each
                values[name] = json.dumps(value)
        named = statement if isinstance(statement, Statement) else self._statements[statement]
        return self._connection.execute(named.text(values), values)


@dataclass(slots=True, eq=False)
class Write(Generic[Result]):
    """A write on its way to the thread and back."""

    work: Work[Result]
    durable: bool
    abandoned: bool = False
    """Its caller was cancelled before it began."""
    result: Result | None = None
    error: Exception | None = None

    def outcome(self) -> Result:
        if self.error is not None:
            raise self.error
        return cast("Result", self.result)


class SqliteSnapshot:
    """A read transaction on a connection and a thread of its own, open until it is closed."""

    def __init__(self, source: "SqliteDatabase", thread: Thread, connection: sqlite3.Connection) -> None:
        self._source = source
        self._thread = thread
        self._connection = connection

    async def read(self, work: Work[Result]) -> Result:
        return await self._thread.run(
            partial(self._source.explained, lambda: self._source.run_in(self._connection, work))
        )


class SqliteDatabase:
    """A ledger file, or `:memory:` for tests. Any number of processes may have the file open."""

    def __init__(self, path: str, *, clock: Callable[[], Millis] = wall_clock) -> None:
        self.url = path if path == file.MEMORY else f"sqlite:///{path}"
        self._path = path
        self._clock = clock
        self._thread: Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._waiting: deque[Write[Any]] = deque()
        self._synchronous = ""

    def now(self) -> Millis:
        return self._clock()

    async def open(self, *, create: bool, wait: bool) -> None:  # noqa: ARG002 - there is no server to wait for
        if self._thread is not None:
            return
        self._thread = Thread("batchmeter-ledger")
        try:
            await self._hop(lambda: self._connect(create=create))
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.run(self._disconnect)
            thread.stop()

    def of_one(self, error: Exception) -> bool:
        refused = isinstance(error.__cause__, sqlite3.IntegrityError | sqlite3.DataError | UnicodeEncodeError)
        return refused or not isinstance(error, LedgerError)

    async def listen(self, heard: Callable[[Topic], None]) -> None:
        """There is nothing to hear."""

    async def read(self, work: Work[Result]) -> Result:
        return await self._hop(lambda: self._read(work))

    async def write(self, work: Work[Result], *, durable: bool = False) -> Result:
        """Writes that wait for the thread at the same time share one commit, and so one wait for the disk."""
        write = Write(work, durable)
        self._waiting.append(write)
        try:
            await self._hop(self._write_waiting)
        except asyncio.CancelledError:
            write.abandoned = True
            raise
        return write.outcome()

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[SqliteSnapshot]:
        thread = Thread("batchmeter-ledger-snapshot")
        try:
            if self._path == file.MEMORY:  # which no other connection sees
                connection = await self._hop(self._copied)
            else:
                connection = await thread.run(partial(self.explained, lambda: file.connect_to_read(self._path)))
            try:
                yield SqliteSnapshot(self, thread, connection)
            finally:
                await thread.run(connection.close)
        finally:
            thread.stop()

    def _connect(self, *, create: bool) -> None:
        self._connection = file.connect(self._path, self._clock, create=create)
        self._synchronous = ""

    def _copied(self) -> sqlite3.Connection:
        assert self._connection is not None
        return file.copy_of_memory(self._connection)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def _hop(self, work: Callable[[], Returned]) -> Returned:
        if self._thread is None:
            raise LedgerError(f"{self.url} is closed: use it inside `async with`, or call open() first")
        return await self._thread.run(partial(self.explained, work))

    def _worded(self, error: Exception) -> Exception:
        if not isinstance(error, file.TROUBLE):
            return error
        worded = file.explain(error, self._path)
        worded.__cause__ = error
        return worded

    def explained(self, work: Callable[[], Returned]) -> Returned:
        try:
            return work()
        except file.TROUBLE as error:
            raise file.explain(error, self._path) from error

    def _read(self, work: Work[Result]) -> Result:
        def once() -> Result:
            with self._transaction(lambda connection: connection.execute("BEGIN")) as connection:
                return self.run_in(connection, work)

        return file.patiently(once)

    def _write_waiting(self) -> None:
        """One hop of a write; an earlier hop may have done its work already."""
        count = min(len(self._waiting), GROUP)
        writes = [write for write in (self._waiting.popleft() for _ in range(count)) if not write.abandoned]
        if not writes:
            return
        try:
            self._write(writes)
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            for write in writes:
                write.error = write.error or self._worded(error)

    def _write(self, writes: list["Write[Any]"]) -> None:
        durable = any(write.durable for write in writes)
        synchronous = "FULL" if durable else "NORMAL"
        with self._transaction(_begin_write, synchronous) as connection:
            if len(writes) == 1:  # the transaction is its own: no need of one within it
                writes[0].result = self.run_in(connection, writes[0].work)
                return
            for write in writes:
                self._write_one(write, connection)

    def _write_one(self, write: "Write[Any]", connection: sqlite3.Connection) -> None:
        """All or nothing by itself: its failure is its own."""
        connection.execute("SAVEPOINT one")
        try:
            write.result = self.run_in(connection, write.work)
        except Exception as error:
            if not connection.in_transaction:  # a full disk has rolled back the whole group
                raise
            connection.execute("ROLLBACK TO one")
            write.error = self._worded(error)
        connection.execute("RELEASE one")

    def run_in(self, connection: sqlite3.Connection, work: Work[Result]) -> Result:
        return _to_the_end(cast("Coroutine[Any, Any, Result]", work(SqliteSession(connection, self._clock()))))

    @contextmanager
    def _transaction(
        self, begin: Callable[[sqlite3.Connection], object], synchronous: str | None = None
    ) -> Generator[sqlite3.Connection]:
        connection = self._connection
        assert connection is not None
        if synchronous not in (None, self._synchronous):
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        begin(connection)
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has rolled back already
                connection.execute("ROLLBACK")
            raise


def _begin_write(connection: sqlite3.Connection) -> None:
    file.patiently(lambda: connection.execute("BEGIN IMMEDIATE"))


def _to_the_end(coroutine: Coroutine[Any, Any, Result]) -> Result:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("Result", end.value)
    coroutine.close()
    raise RuntimeError("a ledger transaction waited for something other than its own statements")


_THREADS: "WeakSet[Thread]" = WeakSet()
_HELD: list[threading.Lock] = []


def _before_fork() -> None:
    """A child would inherit SQLite's own locks as they are, and could wait forever for a thread that it does not have."""
    _HELD.extend(each.at_work for each in list(_THREADS) if each.at_work.acquire(timeout=FORK_SECONDS))


def _after_fork() -> None:
    while _HELD:
        _HELD.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
