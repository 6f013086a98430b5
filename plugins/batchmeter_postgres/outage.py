"""An outage of the server in the log: told once when transactions begin to wait, and once when none waits any more."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import psycopg

log = logging.getLogger("batchmeter")


@dataclass
class Outage:
    """The trouble of one database, whichever of its connections get through in the middle of it."""

    url: str
    _waiting: set[object] = field(default_factory=set[object])
    """Transactions, each by an object of its own."""
    _logged: bool = False
    _read_only: bool = False
    """Reads go on all the time: only a write shows that it is over."""

    async def hold(self, transaction: object, error: Exception, explain: Callable[[], Awaitable[Exception]]) -> None:
        """This transaction waits, because of this error."""
        self._waiting.add(transaction)
        self._read_only |= isinstance(error, psycopg.errors.ReadOnlySqlTransaction)
        if not self._logged:
            self._logged = True
            log.warning("ledger: waiting for the server: %s", await explain())

    def release(self, transaction: object) -> None:
        """The transaction waits no more: done, or given up."""
        self._waiting.discard(transaction)

    def worked(self, *, wrote: bool) -> None:
        """A transaction got through."""
        if self._logged and not self._waiting and (wrote or not self._read_only):
            self._logged = self._read_only = False
            log.warning("ledger: %s is back", self.url)
