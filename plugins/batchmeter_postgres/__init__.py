"""The PostgreSQL ledger: any number of processes on any number of machines share one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from batchmeter import hookimpl

if TYPE_CHECKING:
    from batchmeter.ledger.session import Database, Engine, Millis

__all__ = ["open_database", "register_ledgers"]


@hookimpl
def register_ledgers(register: "Callable[[str, Engine], None]") -> None:
    register("postgresql", open_database)
    register("postgres", open_database)


def open_database(url: str, clock: "Callable[[], Millis] | None") -> "Database":
    from .database import PostgresDatabase  # noqa: PLC0415 - the driver loads when a ledger is opened

    return PostgresDatabase(url, clock=clock)
