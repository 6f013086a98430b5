"""What the ledger's transactions are written against: one open transaction of either engine."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from .records import Millis, Topic

TOPICS: Mapping[str, Topic] = {"batches": "batches", "deliveries": "deliveries"}

Result = TypeVar("Result")


class Row(Protocol):
    """A result row, read by column name."""

    def __getitem__(self, column: str, /) -> Any: ...

    def keys(self) -> Iterable[str]: ...


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

    def signal(self, topic: Topic) -> None:
        """Once committed, other processes shall hear of it, where the engine can tell them."""
        ...

    async def rows(self, statement: str, /, **parameters: object) -> list[Row]: ...

    async def row(self, statement: str, /, **parameters: object) -> Row | None: ...

    async def run(self, statement: str, /, **parameters: object) -> int:
        """Returns how many rows changed."""
        ...

    async def each(self, statement: str, items: Sequence[Mapping[str, object]], /, **parameters: object) -> list[Row]:
        """The statement for each item, in one go where the engine can; the rows of all."""
        ...

    async def decoded(self, rows: Sequence[Row], decode: Callable[[Row], Result], /) -> list[Result]:
        """Rows made into objects without holding up an event loop."""
        ...


Work = Callable[[Session], Awaitable[Result]]


class Database(Protocol):
    """An engine: opens, migrates, and runs transactions."""

    url: str

    def of_one(self, error: Exception) -> bool:
        """Whether it failed because of what one item asked for; others might be written."""
        ...

    async def open(self, *, create: bool) -> None: ...

    async def aclose(self) -> None: ...

    def now(self) -> Millis: ...

    async def listen(self, heard: Callable[[Topic], None]) -> None: ...

    async def read(self, work: Work[Result]) -> Result: ...

    async def write(self, work: Work[Result], *, durable: bool = False) -> Result:
        """All or nothing; `durable` survives a power cut, the rest may lose its last moments (never its order)."""
        ...
