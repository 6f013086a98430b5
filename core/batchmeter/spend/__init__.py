"""Sums of what settled batches cost. Others use the class `Spend` only, and the ledger does not know this package.

`rolling` feeds the sums from the ledger's events; `query` reads them, `kept` holds those of days past in memory, `report`
makes rows; `check` compares the sums with the settlements; `prune` deletes old batches and keeps their sums. A tracker finds
this package by its entry point.
"""

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchmeter.tracker.tracker import Tracker


def extend(tracker: "Tracker") -> None:
    """A tracker with nothing else to do adds what has ended to the sums, so that reports need not."""
    from .rolling import roll  # noqa: PLC0415 - a command that asks for one name of this package loads no more

    tracker.sum_up = partial(roll, tracker.ledger.database)
