"""The durable store of batches, settlements, events and deliveries: `open_ledger` makes one."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from batchmeter.errors import LedgerError

if TYPE_CHECKING:
    from .ledger import Ledger
    from .session import Engine

__all__ = ["open_ledger"]


def open_ledger(
    url_or_path: str, *, clock: "Callable[[], int] | None" = None, engines: "Mapping[str, Engine] | None" = None
) -> "Ledger":
    """A ledger for a path (empty: the default one), `:memory:`, `sqlite:///path` or a URL; `await ledger.open()` connects.

    `engines` open URLs of their scheme; None: those of installed plugins. `clock` (epoch milliseconds) replaces the
    ledger's own, in tests.
    """
    from batchmeter.config import default_ledger  # noqa: PLC0415 - engines import this package, and little else

    from .ledger import Ledger  # noqa: PLC0415

    url_or_path = url_or_path or default_ledger()
    scheme, found, rest = url_or_path.partition("://")
    if found and scheme != "sqlite":
        return Ledger(_engine(scheme, engines)(url_or_path, clock))
    from .sqlite import SqliteDatabase, wall_clock  # noqa: PLC0415

    path = unquote(rest.removeprefix("/")) if found else url_or_path  # sqlite:////absolute, as SQLAlchemy has it
    return Ledger(SqliteDatabase(_place(path), clock=clock or wall_clock))


def _place(path: str) -> str:
    """The file; LedgerError where there is no home, or none that can be written."""
    from batchmeter.config import default_ledger  # noqa: PLC0415 - as above

    try:
        file = Path(path or "~/ledger.db").expanduser()  # empty: nobody knows a home, and this says so
        if path == default_ledger():  # nobody named it, so nobody has made its folder
            file.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "there is no home folder"
        raise LedgerError(
            f"{path or 'the ledger'}: {why}: name a ledger that can be written, with --ledger, BATCHMETER_LEDGER or `ledger` in the settings"
        ) from None
    return str(file)


def _engine(scheme: str, engines: "Mapping[str, Engine] | None") -> "Engine":
    from batchmeter.discovery import registered  # noqa: PLC0415 - only where a plugin opens the ledger

    known: Mapping[str, Engine] = registered(os.environ, "register_ledgers") if engines is None else engines
    if scheme not in known:
        urls = "".join(f", {name}://…" for name in sorted(known))
        raise LedgerError(f"no plugin opens {scheme}:// ledgers: give a file's path, sqlite:///path{urls}")
    return known[scheme]
