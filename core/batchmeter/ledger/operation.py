"""A ledger operation: a function that takes an open transaction, made into a method that is one transaction."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from .session import Database, Kind, Session

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class HasDatabase(Protocol):
    @property
    def database(self) -> Database: ...


class Operation(Generic[Arguments, Result]):
    """In a class body: a method with the function's parameters, less the session."""

    def __init__(self, work: Callable[Concatenate[Session, Arguments], Awaitable[Result]], kind: Kind) -> None:
        self._work = work
        self._kind: Kind = kind
        self._name = ""
        self.__doc__ = work.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, ledger: HasDatabase, owner: type) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
        """Made once for each ledger, and kept there: a call goes straight to the engine."""
        method = partial(ledger.database.run, self._work, self._kind)
        vars(ledger)[self._name] = method
        return method


def read(work: Callable[Concatenate[Session, Arguments], Awaitable[Result]], /) -> Operation[Arguments, Result]:
    """`name = read(function)`: the function in one read transaction."""
    return Operation(work, "read")


def write(
    work: Callable[Concatenate[Session, Arguments], Awaitable[Result]], /, *, durable: bool = False
) -> Operation[Arguments, Result]:
    """The same in one write transaction; `durable`: it has reached the disk when the call returns."""
    return Operation(work, "durable write" if durable else "write")
