"""A ledger operation: a function that takes an open transaction, made into a method that is one transaction."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from .session import Database, Session

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class HasDatabase(Protocol):
    @property
    def database(self) -> Database: ...


Work = Callable[Concatenate[Session, Arguments], Awaitable[Result]]
"""What runs inside the transaction; its first parameter is the session."""
Method = Callable[Concatenate[HasDatabase, Arguments], Coroutine[Any, Any, Result]]
"""The ledger's method: the same parameters, less the session."""


def read(work: Work[Arguments, Result], /) -> Method[Arguments, Result]:
    """`name = read(function)` in a class body: a method that runs the function in one read transaction."""

    @wraps(work)
    async def method(ledger: HasDatabase, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return await ledger.database.read(lambda session: work(session, *args, **kwargs))

    return method


def write(work: Work[Arguments, Result], /, *, durable: bool = False) -> Method[Arguments, Result]:
    """The same in one write transaction; `durable`: it has reached the disk when the call returns."""

    @wraps(work)
    async def method(ledger: HasDatabase, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return await ledger.database.write(lambda session: work(session, *args, **kwargs), durable=durable)

    return method
