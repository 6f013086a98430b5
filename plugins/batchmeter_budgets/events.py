"""The events that budgets bring: `budget_alert` about a budget, `alert` about anything else that needs a look."""

import uuid
from decimal import Decimal
from typing import Literal

from batchmeter.events import AlertEvent
from batchmeter.models import Frozen, Time, Usd

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://batchmeter.dev/alerts")

BudgetAlertKind = Literal["threshold", "spent", "exceeded", "refused", "unreserved", "uncertain", "projected"]
AlertKind = Literal["batch_late", "batch_failed", "unknown_cost", "logger_owed", "prices_old"]


def alert_id(*parts: object) -> str:
    """A UUIDv5: the same alert has the same id, whichever process notices it."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(map(str, parts))))


class AlertPeriod(Frozen, frozen=True):
    start: Time
    end: Time | None = None
    """None for a budget without periods."""


class BudgetAlert(AlertEvent, frozen=True):
    """One budget, one bucket of it, one period. `batch_id`, `account`, `attribution`: of the batch that did it, if one did."""

    type: Literal["budget_alert"] = "budget_alert"
    kind: BudgetAlertKind
    """`threshold`: spent, uncertain and reserved together reach `threshold` percent; `spent`: what is spent alone does;
    `exceeded`: more is spent than the limit; `refused`: a batch was; `unreserved`: one was let through whose cost nobody can
    tell; `uncertain`: a cost has been unknown for a day; `projected`: at this pace the limit will not last."""
    budget: str
    bucket: str = ""
    """`team=search` of a budget for every team; empty where the budget has one bucket."""
    threshold: int = 0
    """Percent of the limit; 0 for kinds without."""
    unit: Literal["usd", "tokens"] = "usd"
    limit: Usd
    spent: Usd
    reserved: Usd
    uncertain: Usd
    projected: Usd | None = None
    period: AlertPeriod


class Alert(AlertEvent, frozen=True):
    """Something besides budgets."""

    type: Literal["alert"] = "alert"
    kind: AlertKind
    subject: str
    """A batch's id, a logger's name, or the day of the prices."""
    amount: Usd | None = None
    """Amount that may still be to pay, of `unknown_cost`."""
    hours: float | None = None
    """Time that it has taken so far, of `batch_late` and `logger_owed`."""


def dollars(amount: Decimal) -> str:
    """`$12.40`, `$0.0012`: cents, and more digits where cents would hide the amount."""
    digits = 2 if amount == 0 or abs(amount) >= 1 else 4
    return f"${amount:,.{digits}f}"
