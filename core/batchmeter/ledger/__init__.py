"""The durable store of batches, settlements, events and deliveries: `open_ledger` makes one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from batchmeter.config import default_ledger
from batchmeter.errors import LedgerError

if TYPE_CHECKING:
    from .ledger import Ledger

__all__ = ["open_ledger"]


def open_ledger(url_or_path: str, *, clock: "Callable[[], int] | None" = None) -> "Ledger":
    """A ledger for a path (empty: the default one), `:memory:`, `sqlite:///path` or `postgresql://…`; `await ledger.open()` connects.

    `clock` (epoch milliseconds) replaces the ledger's own, in tests.
    """
    from .ledger import Ledger  # noqa: PLC0415 - drivers load when a ledger is opened

    url_or_path = url_or_path or default_ledger()
    scheme, found, rest = url_or_path.partition("://")
    if found and scheme in {"postgresql", "postgres"}:
        from .postgres import PostgresDatabase  # noqa: PLC0415

        return Ledger(PostgresDatabase(url_or_path, clock=clock))
    if found and scheme != "sqlite":
        raise LedgerError(f"{scheme}:// is no ledger: give a file's path, sqlite:///path or postgresql://host/database")
    from .sqlite import SqliteDatabase, wall_clock  # noqa: PLC0415

    path = unquote(rest.removeprefix("/")) if found else url_or_path  # sqlite:////absolute, as SQLAlchemy has it
    if path == default_ledger():  # nobody named it, so nobody has made its folder
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Ledger(SqliteDatabase(str(Path(path).expanduser()), clock=clock or wall_clock))
