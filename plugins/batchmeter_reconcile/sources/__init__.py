"""Sources: the vendors' own reports. Each fills in figures for some days; a plugin may bring more (`register_billing`)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from batchmeter_reconcile.figures import Figures
from batchmeter_reconcile.settings import BillSettings

By = Literal["project", "key"]


@dataclass(frozen=True, slots=True)
class Question:
    """One bill, as the user set it. The days are those of the figures."""

    settings: BillSettings
    by: By = "project"
    """The vendor's own parts that a row names beside its sum."""


Ask = Callable[[Question, Figures], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class BillingSource:
    """One vendor's report."""

    name: str
    ask: Ask
    """Adds rows and raw bytes to the figures; raises a BatchmeterError where it cannot ask."""
    settle_hours: float = 24.0
    """Hours after the end of a day for which the vendor may still add to it."""
    kinds: tuple[str, ...] = ()
    """Kinds of tokens that the report tells apart; empty: those of bills."""
