"""The contract of a ledger engine: `Database` runs transactions, `Session` is one, and its statements have names."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeVar

Millis = int
"""Epoch milliseconds, UTC."""
Topic = Literal["batches", "deliveries"]
"""Topics of new work that a transaction may signal."""
TOPICS: Mapping[str, Topic] = {"batches": "batches", "deliveries": "deliveries"}

Result = TypeVar("Result")

_NAME = re.compile(r"-- name: (\w+)")
_OPTIONAL = re.compile(r"(.*?);?\s*-- \[(\w+)\]")


class Row(Protocol):
    """A result row, read by column name."""

    def __getitem__(self, column: str, /) -> Any: ...

    def keys(self) -> Iterable[str]: ...


class Statement:
    """One statement: its lines, each with the parameter it depends on."""

    def __init__(self, name: str, body: str) -> None:
        self.name = name
        self._lines = list(_lines(body))
        self._optional = frozenset(parameter for _, parameter in self._lines if parameter)
        self._render = lru_cache(maxsize=64)(self._rendered)
        self._whole = None if self._optional else self._rendered(frozenset())

    def text(self, parameters: Mapping[str, object]) -> str:
        """The SQL for these parameters; one that is None or False drops its lines."""
        if self._whole is not None:
            return self._whole
        values = {name: parameters.get(name) for name in self._optional}
        return self._render(frozenset(name for name, one in values.items() if one is not None and one is not False))

    def _rendered(self, given: frozenset[str]) -> str:
        return "\n".join(line for line, parameter in self._lines if parameter is None or parameter in given)


class Session(Protocol):
    """One transaction. Its statements are those of the engine's SQL files, by name."""

    @property
    def now(self) -> Millis:
        """The ledger's clock when the transaction began; every statement may use it as `now`."""
        ...

    @property
    def spare(self) -> int:
        """How many candidates to offer per row wanted: more than one where other workers lock rows meanwhile."""
        ...

    def has(self, statement: str) -> bool:
        """Whether the engine has this statement: some do in one what others do in steps."""
        ...

    def statement(self, text: str, /) -> Statement:
        """One more statement, written in PostgreSQL's words, for this engine."""
        ...

    def signal(self, topic: Topic) -> None:
        """Once committed, other processes shall hear of it, where the engine can tell them."""
        ...

    async def rows(self, statement: str | Statement, /, **parameters: object) -> list[Row]: ...

    async def row(self, statement: str | Statement, /, **parameters: object) -> Row | None: ...

    async def run(self, statement: str | Statement, /, **parameters: object) -> int:
        """Returns how many rows changed."""
        ...

    async def each(
        self, statement: str | Statement, items: Sequence[Mapping[str, object]], /, **parameters: object
    ) -> list[Row]:
        """The statement for each item, in one go where the engine can; the rows of all."""
        ...

    async def decoded(self, rows: Sequence[Row], decode: Callable[[Row], Result], /) -> list[Result]:
        """Rows made into objects without holding up an event loop."""
        ...


Work = Callable[[Session], Awaitable[Result]]


class Reader(Protocol):
    async def read(self, work: Work[Result]) -> Result: ...


class Database(Reader, Protocol):
    """An engine: opens, migrates, and runs transactions."""

    url: str
    """For messages; without a password."""

    def of_one(self, error: Exception) -> bool:
        """Whether it failed because of what one item asked for; others might be written."""
        ...

    async def open(self, *, create: bool, wait: bool) -> None:
        """`wait`: for a server that cannot be reached at the moment, as transactions do."""
        ...

    async def aclose(self) -> None: ...

    def now(self) -> Millis: ...

    async def listen(self, heard: Callable[[Topic], None]) -> None: ...

    def snapshot(self) -> AbstractAsyncContextManager[Reader]:
        """All that is read from it is of one moment, whoever writes meanwhile."""
        ...

    async def write(self, work: Work[Result], *, durable: bool = False) -> Result:
        """All or nothing; `durable` survives a power cut, the rest may lose its last moments (never its order)."""
        ...


Engine = Callable[[str, "Callable[[], Millis] | None"], Database]
"""Makes the database of a URL; the clock, where one is given, replaces the engine's own in tests."""


def split_statements(text: str) -> Mapping[str, str]:
    """Name -> statement, of a text in which `-- name: x` stands above each."""
    _, *parts = _NAME.split(text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _lines(body: str) -> Iterable[tuple[str, str | None]]:
    for line in body.splitlines():
        if line.strip() and not line.lstrip().startswith("--"):
            match = _OPTIONAL.fullmatch(line)
            yield (match[1], match[2]) if match else (line.rstrip(";"), None)
