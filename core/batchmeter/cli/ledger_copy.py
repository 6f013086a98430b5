"""Copies a whole ledger into an empty one, of either engine: ids, numbers, leases and bytes stay as they are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from itertools import groupby
from typing import Any

from batchmeter.errors import LedgerError
from batchmeter.ledger import serialize
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.session import Reader, Row, Session
from batchmeter.runtime.plugin_store import bring_stores

_FREE_TEXTS = frozenset({"reason", "last_error"})
"""Columns in which an older batchmeter kept texts that not every engine takes."""
PAGE_ROWS = 500


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the schema, and the statements that copy it, in PostgreSQL's words."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    references: frozenset[str]
    """Tables that are copied before this one."""
    sequences: Mapping[str, str]
    """Column -> the sequence that numbers it, where the engine has any."""

    @classmethod
    def of(cls, name: str, rows: list[Row]) -> "Table":
        key = sorted((row["key_place"], row["column_name"]) for row in rows if row["key_place"])
        return cls(
            name,
            columns=tuple(row["column_name"] for row in rows),
            key=tuple(column for _, column in key),
            references=frozenset(row["refers_to"] for row in rows if row["refers_to"]),
            sequences={row["column_name"]: row["sequence"] for row in rows if row["sequence"]},
        )

    @property
    def count(self) -> str:
        return f"SELECT count(*) AS rows FROM batchmeter.{self.name}"  # noqa: S608 - names of our own schema, here and below

    @property
    def page(self) -> str:
        key, after = ", ".join(self.key), ", ".join(f"%(after_{column})s" for column in self.key)
        return (
            f"SELECT * FROM batchmeter.{self.name}\n"  # noqa: S608
            f"WHERE ({key}) > ({after}) -- [after_{self.key[0]}]\n"
            f"ORDER BY {key} LIMIT %(limit)s"
        )

    @property
    def load(self) -> str:
        values = ", ".join(f"%({column})s" for column in self.columns)
        return f"INSERT INTO batchmeter.{self.name} ({', '.join(self.columns)}) VALUES ({values})"  # noqa: S608

    @property
    def resume_numbers(self) -> list[str]:
        """New rows are numbered after the copied ones."""
        return [
            f"SELECT setval('{sequence}', greatest((SELECT max({column}) FROM batchmeter.{self.name}), 1))"  # noqa: S608
            for column, sequence in self.sequences.items()
        ]


@dataclass(frozen=True, slots=True)
class Copied:
    rows: dict[str, int]
    """By table."""
    outdated: bool
    """The source was written to meanwhile: the copy is the ledger as it was when copying began."""


async def copy_ledger(
    source: Ledger, target: Ledger, *, on_progress: Callable[[str, int], None] | None = None
) -> Copied:
    """Both are open. All rows are of one moment, whoever uses the source; nobody may use the target yet."""
    if any((await count_rows(target)).values()):
        raise LedgerError(f"{target.url} is not empty: copy into a new ledger")
    async with source.database.snapshot() as snapshot:
        before = await snapshot.read(_progress)
        tables = await snapshot.read(read_tables)
        await bring_stores(await snapshot.read(plugin_schemas), target.database)
        await _check_tables(tables, source, target)
        copied = {table.name: await _copy_table(snapshot, target, table, on_progress) for table in tables}
    await target.database.write(_resume_numbers, durable=True)
    if copied != await count_rows(target):
        raise LedgerError(f"{target.url} was written to while it was copied into: empty it, and copy again")
    return Copied(copied, outdated=before != await source.database.read(_progress))


async def plugin_schemas(session: Session) -> list[Row]:
    return await session.rows("plugin_schemas")


async def _check_tables(tables: list[Table], source: Ledger, target: Ledger) -> None:
    known = {table.name: set(table.columns) for table in await target.database.read(read_tables)}
    missing = sorted(table.name for table in tables if not set(table.columns) <= known.get(table.name, set()))
    if missing:
        raise LedgerError(f"{target.url} lacks what {source.url} has: {', '.join(missing)}: enable the plugins it had")


async def _progress(session: Session) -> list[object]:
    """Differs after any claim, event or delivery, and after whatever adds or takes rows."""
    rows = [await _counts(session), *(dict(_plain(row)) for row in await session.rows("progress"))]
    return list(rows)


async def count_rows(ledger: Ledger) -> dict[str, int]:
    return await ledger.database.read(_counts)


async def read_tables(session: Session) -> list[Table]:
    """Every table that holds records, in an order that keeps every reference valid."""
    rows = await session.rows("schema")
    found = {name: Table.of(name, list(own)) for name, own in groupby(rows, lambda row: str(row["table_name"]))}
    order = TopologicalSorter({table.name: table.references for table in found.values()})
    return [found[name] for name in order.static_order()]


async def read_page(table: Table, after: Mapping[str, object], session: Session) -> list[dict[str, Any]]:
    """Rows in the order of the table's key, from behind a row's key on."""
    page = await session.rows(session.statement(table.page), limit=PAGE_ROWS, **after)
    return await session.decoded(page, _plain)


async def _counts(session: Session) -> dict[str, int]:
    tables = await read_tables(session)
    return {table.name: row["rows"] for table in tables for row in await session.rows(session.statement(table.count))}


async def _resume_numbers(session: Session) -> None:
    for table in await read_tables(session):
        for text in table.resume_numbers:
            await session.rows(session.statement(text))


async def _copy_table(
    source: Reader, target: Ledger, table: Table, on_progress: Callable[[str, int], None] | None
) -> int:
    copied, after = 0, dict[str, object]()
    while page := await source.read(partial(read_page, table, after)):
        await target.database.write(partial(_load, table, page), durable=True)
        copied += len(page)
        after = {f"after_{column}": page[-1][column] for column in table.key}
        if on_progress:
            on_progress(table.name, copied)
    return copied


async def _load(table: Table, page: list[dict[str, Any]], session: Session) -> None:
    await session.each(session.statement(table.load), page)


def _plain(row: Row) -> dict[str, Any]:
    columns = row.keys()  # a sqlite3.Row itself iterates over its values
    return {column: serialize.storable(row[column]) if column in _FREE_TEXTS else row[column] for column in columns}
