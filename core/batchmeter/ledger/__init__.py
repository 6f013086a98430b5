"""The durable store of batches, settlements, events and deliveries: `open_ledger` makes one."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from batchmeter.errors import LedgerError

if TYPE_CHECKING:
    from .ledger import Ledger
    from .session import Engine

__all__ = ["open_ledger"]

PATH_SCHEME = "sqlite"
"""The engine of ledgers that are named by a path alone."""


def open_ledger(
    url_or_path: str, *, clock: "Callable[[], int] | None" = None, engines: "Mapping[str, Engine] | None" = None
) -> "Ledger":
    """A ledger for a path (empty: the default one), `:memory:`, `sqlite:///path` or a URL; `await ledger.open()` connects.

    `engines` open URLs of their scheme; None: those of installed plugins. `clock` (epoch milliseconds) replaces the
    ledger's own, in tests.
    """
    from .ledger import Ledger  # noqa: PLC0415 - engines import this package, and little else

    scheme, found, _ = url_or_path.partition("://")
    if found:
        return Ledger(_engine(scheme, engines)(url_or_path, clock))
    return Ledger(_engine(PATH_SCHEME, engines)(_path(url_or_path), clock))


def _path(path: str) -> str:
    """The default one in place of an empty one; nobody named it, so nobody has made its folder."""
    from batchmeter.config import default_ledger  # noqa: PLC0415 - as above

    default = default_ledger()
    if path and path != default:
        return path
    why = "there is no home folder"
    try:
        if default:
            Path(default).parent.mkdir(parents=True, exist_ok=True)
            return default
    except OSError as error:
        why = error.strerror or str(error)
    raise LedgerError(
        f"{default or 'the ledger'}: {why}: name a ledger that can be written, with --ledger, BATCHMETER_LEDGER or `ledger` in the settings"
    )


def _engine(scheme: str, engines: "Mapping[str, Engine] | None") -> "Engine":
    from batchmeter.discovery import registered  # noqa: PLC0415 - only where no client has loaded the plugins

    known: Mapping[str, Engine] = registered(os.environ, "register_ledgers", scheme) if engines is None else engines
    if scheme not in known:
        others = ", ".join(f"{name}://" for name in sorted(known)) or "none"
        raise LedgerError(
            f"no plugin opens {scheme}:// ledgers: install one, or enable the one that does; others: {others}"
        )
    return known[scheme]
