"""Open budgets: the parts that run in one client, as commands, routes and pages get them."""

from batchmeter.errors import LedgerError

from .alerting import Alerts
from .book import Book
from .reserve import Reserver
from .settle import Settler
from .upkeep import Upkeep
from .watching import Watch


class OpenBudgets:
    """Each part raises LedgerError before the plugin has started."""

    def __init__(self) -> None:
        self._parts: tuple[Book, Alerts, Reserver, Settler, Upkeep, Watch] | None = None

    @property
    def book(self) -> Book:
        return self._open[0]

    @property
    def reserver(self) -> Reserver:
        return self._open[2]

    @property
    def settler(self) -> Settler:
        return self._open[3]

    @property
    def upkeep(self) -> Upkeep:
        return self._open[4]

    @property
    def watch(self) -> Watch:
        return self._open[5]

    @property
    def _open(self) -> tuple[Book, Alerts, Reserver, Settler, Upkeep, Watch]:
        if self._parts is None:
            raise LedgerError("budgets have not started: the log says why")
        return self._parts
