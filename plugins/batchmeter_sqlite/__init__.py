"""The SQLite ledger: a file, or `:memory:`; where nothing else is named, ledgers are such files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from batchmeter import hookimpl
from batchmeter.errors import LedgerError

if TYPE_CHECKING:
    from batchmeter.ledger.session import Engine, Millis

    from .database import SqliteDatabase

__all__ = ["open_database", "register_ledgers"]


@hookimpl
def register_ledgers(register: "Callable[[str, Engine], None]") -> None:
    register("sqlite", open_database)


def open_database(url_or_path: str, clock: "Callable[[], Millis] | None" = None) -> "SqliteDatabase":
    """A path, `:memory:`, or `sqlite:///path` (`sqlite:////absolute`, as SQLAlchemy has it), percent-decoded."""
    from .database import SqliteDatabase, wall_clock  # noqa: PLC0415 - only where a ledger is opened

    scheme, _, rest = url_or_path.partition("://")
    path = unquote(rest.removeprefix("/")) if scheme == "sqlite" else url_or_path
    try:
        file = Path(path).expanduser()
    except RuntimeError:
        raise LedgerError(f"{path}: there is no home folder: name the ledger's file in full") from None
    return SqliteDatabase(str(file), clock=clock or wall_clock)
