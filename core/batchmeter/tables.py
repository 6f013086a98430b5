"""A plugin's own tables in the ledger's database, as `host.store` gives them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Steps = Sequence[tuple[str, Mapping[str, object]]]
Grouped = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


class TableRow(Protocol):
    """A result row, read by column name."""

    def __getitem__(self, column: str, /) -> Any: ...

    def keys(self) -> Iterable[str]: ...


class TableSession(Protocol):
    """One transaction on a plugin's tables. Statements have the names that the plugin gave them."""

    @property
    def now(self) -> int:
        """The ledger's clock; every statement may use it as `now`."""
        ...

    async def rows(self, statement: str, /, **parameters: object) -> Sequence[TableRow]: ...

    async def row(self, statement: str, /, **parameters: object) -> TableRow | None: ...

    async def run(self, statement: str, /, **parameters: object) -> int:
        """Returns how many rows changed."""
        ...

    async def each(
        self, statement: str, items: Sequence[Mapping[str, object]], /, **parameters: object
    ) -> Sequence[TableRow]:
        """The statement for each item; the rows of all."""
        ...


class Tables(Protocol):
    """A plugin's own tables, once they are migrated."""

    async def read(self, work: Callable[[TableSession], Awaitable[Result]]) -> Result: ...

    async def write(self, work: Callable[[TableSession], Awaitable[Result]], *, durable: bool = True) -> Result:
        """All or nothing; `durable` survives a power cut."""
        ...

    async def at_once(self, steps: Steps, *, durable: bool = True) -> Sequence[Sequence[TableRow]]:
        """Statements in one write transaction, a single message to a server, so that no lock waits for us; each one's rows."""
        ...

    def grouped(self, write: "Grouped[Item, Result]") -> Callable[[Item], Awaitable[Result]]:
        """Calls that come while one runs share the next `write`; where that fails by what one asked, each has its own."""
        ...

    async def rows(self, statement: str, /, **parameters: object) -> Sequence[TableRow]:
        """One statement in a read transaction of its own."""
        ...

    async def run(self, statement: str, /, **parameters: object) -> int:
        """One statement in a write transaction of its own; returns how many rows changed."""
        ...
