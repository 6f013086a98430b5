"""Transactions of the ledger: an operation is one of its own, and group commit makes one of many writes."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from .session import Database, Session, Work

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Transact = Callable[[Database, Work[Any]], Coroutine[Any, Any, Any]]


class HasDatabase(Protocol):
    @property
    def database(self) -> Database: ...


class Operation(Generic[Arguments, Result]):
    """A function that takes an open transaction, made into a method that is one.

    In a class body: a method with the function's parameters, less the session."""

    def __init__(self, work: Callable[Concatenate[Session, Arguments], Awaitable[Result]], transact: Transact) -> None:
        self._work = work
        self._transact = transact
        self._name = ""
        self.__doc__ = work.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, ledger: HasDatabase, owner: type) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
        """Made once for each ledger, and kept there."""
        method = self._method_of(ledger.database)
        vars(ledger)[self._name] = method
        return method

    def _method_of(self, database: Database) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
        work, transact = self._work, self._transact
        return lambda *args, **kwargs: transact(database, lambda session: work(session, *args, **kwargs))


def read(work: Callable[Concatenate[Session, Arguments], Awaitable[Result]], /) -> Operation[Arguments, Result]:
    """`name = read(function)`: the function in one read transaction."""
    return Operation(work, lambda database, bound: database.read(bound))


def write(
    work: Callable[Concatenate[Session, Arguments], Awaitable[Result]], /, *, durable: bool = False
) -> Operation[Arguments, Result]:
    """The same in one write transaction; `durable`: it has reached the disk when the call returns."""
    return Operation(work, lambda database, bound: database.write(bound, durable=durable))


Item = TypeVar("Item")

GROUP_SIZE = 64
"""In one transaction, so that nobody waits long behind others."""


class GroupCommit(Generic[Item, Result]):
    """Writes that arrive while one runs share the next transaction.

    One transaction after the other, each for all that wait. `write` is all or nothing and returns a result per item.

    Where it fails because of what some item asked for (`of_one`), each is written alone: a failure is its own.
    """

    def __init__(
        self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], of_one: Callable[[Exception], bool]
    ) -> None:
        self._write = write
        self._of_one = of_one
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._work: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Result:
        """A caller that is cancelled before its item's turn takes it back; after that it is written all the same."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._work is None:
            self._work = asyncio.create_task(self._work_off(), name="batchmeter-ledger-group-commit")
        return await future

    async def aclose(self) -> None:
        if self._work is not None:
            await self._work

    async def _work_off(self) -> None:
        group: list[tuple[Item, asyncio.Future[Result]]] = []
        try:
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_SIZE))]
                await self._write_all([each for each in group if not each[1].done()])
        finally:
            self._work = None
            for _, future in (*group, *self._waiting):
                future.cancel()  # of whoever still waits: the loop is being closed under us

    async def _write_all(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        if not group:
            return
        try:
            results = await self._write([item for item, _ in group])
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            await self._failed(group, error)
            return
        for (_, future), result in zip(group, results, strict=True):
            if not future.done():
                future.set_result(result)

    async def _failed(self, group: list[tuple[Item, asyncio.Future[Result]]], error: Exception) -> None:
        if len(group) > 1 and self._of_one(error):
            for each in group:
                await self._write_all([each])
            return
        for _, future in group:
            if not future.done():
                future.set_exception(error)
