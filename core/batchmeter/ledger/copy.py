"""Copies a whole ledger into an empty one, of either engine: ids, numbers, leases and bytes stay as they are."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from batchmeter.errors import LedgerError

from . import rows
from .ledger import Ledger
from .session import Row, Session

TABLES: Mapping[str, tuple[str, ...]] = {
    "intent": ("id",),
    "batch": ("pk",),
    "settlement": ("batch_pk", "revision"),
    "event": ("seq",),
    "delivery": ("event_seq", "logger"),
    "file": ("file_id", "account"),
    "proxy_key": ("id",),
    "key_use": ("key_id", "what"),
    "answer": ("scope", "name"),
    "forgotten": ("provider", "account", "status"),
}
"""Table -> key, in an order that keeps every reference valid."""
_SAID = frozenset({"reason", "last_error"})
"""Columns in which an older batchmeter kept texts that not every engine takes."""
_PAGE = 500


async def copy_ledger(
    source: Ledger, target: Ledger, *, on_progress: Callable[[str, int], None] | None = None
) -> dict[str, int]:
    """Rows copied, by table. Both are open; nothing else may write to either meanwhile, which is checked at the end."""
    if any((await count_rows(target)).values()):
        raise LedgerError(f"{target.url} is not empty: copy into a new ledger")
    copied = {table: await _copy_table(source, target, table, on_progress) for table in TABLES}
    await target.database.write(_resume_numbers, durable=True)
    if not copied == await count_rows(source) == await count_rows(target):
        raise LedgerError(f"{source.url} changed while it was copied: stop what uses it, empty the target, copy again")
    return copied


async def count_rows(ledger: Ledger) -> dict[str, int]:
    return await ledger.database.read(_counts)


async def _counts(session: Session) -> dict[str, int]:
    return {table: row["rows"] for table in TABLES for row in await session.rows(f"count_{table}")}


async def _resume_numbers(session: Session) -> None:
    await session.rows("resume_numbers")


async def _copy_table(
    source: Ledger, target: Ledger, table: str, on_progress: Callable[[str, int], None] | None
) -> int:
    copied, after = 0, dict[str, object]()
    while page := await source.database.read(partial(_dump, table, after)):
        await target.database.write(partial(_load, table, page), durable=True)
        copied += len(page)
        after = {f"after_{column}": page[-1][column] for column in TABLES[table]}
        if on_progress:
            on_progress(table, copied)
    return copied


async def _dump(table: str, after: dict[str, object], session: Session) -> list[dict[str, Any]]:
    return await session.decoded(await session.rows(f"dump_{table}", limit=_PAGE, **after), _plain)


async def _load(table: str, page: list[dict[str, Any]], session: Session) -> None:
    await session.each(f"load_{table}", page)


def _plain(row: Row) -> dict[str, Any]:
    columns = row.keys()  # a sqlite3.Row itself iterates over its values
    return {column: rows.said(row[column]) if column in _SAID else row[column] for column in columns}
