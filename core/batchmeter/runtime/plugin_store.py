"""A plugin's own tables in the ledger's database: migrated, copied and backed up with it, on either engine.

Statements are written in PostgreSQL's words (`batchmeter.budgets_limit`, `%(team)s`), and translated as the ledger's own.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from batchmeter.errors import ConfigError, LedgerError
from batchmeter.ledger.session import Database, Row, Session, Statement, split_statements
from batchmeter.ledger.transactions import GroupCommit

Item = TypeVar("Item")
Result = TypeVar("Result")

_PLUGIN = re.compile(r"[a-z][a-z0-9_]*")
_MADE = re.compile(r"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w.]+)", re.IGNORECASE)


class StoreSession:
    """One transaction on a plugin's tables. Its statements have the names that the plugin gave them."""

    def __init__(self, session: Session, statements: Mapping[str, str], made: dict[str, Statement]) -> None:
        self._session = session
        self._statements = statements
        self._made = made

    @property
    def now(self) -> int:
        """The ledger's clock; every statement may use it as `now`."""
        return self._session.now

    async def rows(self, statement: str, /, **parameters: object) -> list[Row]:
        return await self._session.rows(self._named(statement), **parameters)

    async def row(self, statement: str, /, **parameters: object) -> Row | None:
        return await self._session.row(self._named(statement), **parameters)

    async def run(self, statement: str, /, **parameters: object) -> int:
        """Returns how many rows changed."""
        return await self._session.run(self._named(statement), **parameters)

    async def each(self, statement: str, items: Sequence[Mapping[str, object]], /, **parameters: object) -> list[Row]:
        """The statement for each item; the rows of all."""
        return await self._session.each(self._named(statement), items, **parameters)

    def _named(self, name: str) -> Statement:
        found = self._made.get(name)
        if found is None:
            if name not in self._statements:
                raise LedgerError(f"no statement {name!r}; known: {', '.join(sorted(self._statements))}")
            found = self._made[name] = self._session.statement(self._statements[name])
        return found


Work = Callable[[StoreSession], Awaitable[Result]]
"""A function that runs inside a transaction. It awaits nothing but the session's own methods."""


class Store:
    """A plugin's tables, once they are migrated."""

    def __init__(self, database: Database, statements: str) -> None:
        self._database = database
        self._statements = split_statements(statements)
        self._made: dict[str, Statement] = {}
        """In the engine's words, each translated once."""

    async def read(self, work: Work[Result]) -> Result:
        return await self._database.read(lambda session: work(StoreSession(session, self._statements, self._made)))

    async def write(self, work: Work[Result], *, durable: bool = True) -> Result:
        """All or nothing; `durable` survives a power cut."""
        return await self._database.write(
            lambda session: work(StoreSession(session, self._statements, self._made)), durable=durable
        )

    async def at_once(
        self, steps: Sequence[tuple[str, Mapping[str, object]]], *, durable: bool = True
    ) -> list[list[Row]]:
        """Statements in one write transaction, none of which needs another's rows here; the rows of each."""
        whole = getattr(self._database, "at_once", None)
        if whole is None:
            return await self.write(lambda session: _each_step(session, steps), durable=durable)
        named = [(self._whole(name), values) for name, values in steps]
        found: list[list[Row]] = await whole(named, durable=durable)
        return found

    def _whole(self, name: str) -> Statement:
        """In PostgreSQL's words."""
        return self._made.get(name) or self._made.setdefault(name, Statement("generated", self._statements[name]))

    def grouped(
        self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]
    ) -> Callable[[Item], Awaitable[Result]]:
        """Group commit: calls that come while one runs share the next `write`; where that fails, each has its own."""
        return GroupCommit(write, self._database.of_one).add

    async def rows(self, statement: str, /, **parameters: object) -> list[Row]:
        """One statement in a read transaction of its own."""
        return await self.read(lambda session: session.rows(statement, **parameters))

    async def run(self, statement: str, /, **parameters: object) -> int:
        """One statement in a write transaction of its own; returns how many rows changed."""
        return await self.write(lambda session: session.run(statement, **parameters))


async def _each_step(session: StoreSession, steps: Sequence[tuple[str, Mapping[str, object]]]) -> list[list[Row]]:
    return [await session.rows(name, **values) for name, values in steps]


async def open_store(database: Database, plugin: str, migrations: Sequence[str], statements: str) -> Store:
    """Apply what is new of `migrations`, in order, each once for all processes. ConfigError for a table of another's name."""
    if not _PLUGIN.fullmatch(plugin):
        raise ConfigError(f"store {plugin!r}: a name is a-z, 0-9 and _, beginning with a letter")
    for text in migrations:
        for table in _MADE.findall(text):
            if not table.startswith(f"batchmeter.{plugin}_"):
                raise ConfigError(f"store {plugin!r}: table {table} has to be named batchmeter.{plugin}_…")
    applied = {row["version"]: row["statements"] for row in await database.read(_schemas) if row["plugin"] == plugin}
    if len(applied) > len(migrations):
        raise LedgerError(
            f"store {plugin!r} is at version {len(applied)}, this plugin knows {len(migrations)}: upgrade it"
        )
    for version, text in enumerate(migrations, 1):
        if applied.get(version, text) != text:
            raise LedgerError(f"store {plugin!r}: migration {version} was applied in another form; never change one")
        if version not in applied:
            await database.write(_applying(plugin, version, text), durable=True)
    return Store(database, statements)


async def bring_stores(rows: Sequence[Row], target: Database) -> None:
    """Make the tables that another ledger's plugins had, without the plugins."""
    for row in rows:
        await target.write(_applying(row["plugin"], row["version"], row["statements"], noted=False), durable=True)


async def _schemas(session: Session) -> list[Row]:
    return await session.rows("plugin_schemas")


def _applying(plugin: str, version: int, text: str, *, noted: bool = True) -> Callable[[Session], Awaitable[None]]:
    async def work(session: Session) -> None:
        if noted:
            row = await session.row("add_plugin_schema", plugin=plugin, version=version, statements=text)
            if row is None:
                return
        for statement in _single(text):
            await session.run(session.statement(statement))

    return work


def _single(text: str) -> list[str]:
    """Statements end with a semicolon at the end of a line."""
    return [part for part in re.split(r";[ \t]*(?:\n|$)", text) if part.strip()]
