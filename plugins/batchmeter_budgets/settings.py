"""Settings of budgets: `[plugins.budgets.NAME]` for each, and `[plugins.budgets.alerts]` for other alerts."""

import re
from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from batchmeter.plugin_settings import SettingsWithTables

from .money import MOST

Dimension = Literal["key", "team", "user", "account", "provider", "model", "tag"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TAKEN = frozenset({"mine", "alerts", "budgets", "enabled"})
_HIGHEST_PERCENT = 1000


def checked_name(name: str) -> str:
    """ValueError for what cannot stand in an address, or has another meaning there."""
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise ValueError(
            f"{name!r} cannot be a budget's name: letters, digits, '.', '_' and '-', and none of {_TAKEN!r}"
        )
    return name


def _finite(amount: Decimal) -> Decimal:
    if not amount.is_finite() or amount < 0:
        raise ValueError("is not an amount of money: write US dollars, 0 or more")
    if amount > MOST:
        raise ValueError(f"is more than {MOST:,} US dollars")
    return amount


Dollars = Annotated[Decimal, Field(allow_inf_nan=True), AfterValidator(_finite)]


class PerLine(BaseModel):
    """`on_unknown = {usd_per_line = "0.01"}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd_per_line: Dollars
    """Reserved for each request whose cost nobody can tell."""


class BudgetSettings(BaseModel):
    """`[plugins.budgets.NAME]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Dollars | None = None
    """US dollars for each period and bucket."""
    limit_tokens: int | None = Field(default=None, ge=0, le=2**62)
    """In place of `limit`: estimated input tokens of open batches, what vendors call enqueued tokens. It has no period."""
    currency: Literal["USD"] = "USD"
    """Prices are in US dollars, so budgets are, too."""
    scope: dict[Dimension, str] = Field(default_factory=dict[Dimension, str])
    """Its scope: `{team = "search"}`; `"*"` gives each value a budget of its own, `"gpt-5*"` is a pattern. All that
    is named has to match; without any it is about everything."""
    period: Literal["day", "week", "month", "total"] = "month"
    """By the calendar: a week begins on Monday; `total` never ends."""
    timezone: str = "UTC"
    """Time zone that its days begin in."""
    mode: Literal["enforce", "watch"] = "enforce"
    """`enforce` refuses what does not fit; `watch` only alerts."""
    reserve: Literal["upper", "expected", "upper_or_expected"] = "upper_or_expected"
    """`upper`: as if every request used all it may; `expected`: as earlier batches of the model; else the first that is
    known, of the second 1.2 times as much."""
    on_unknown: Literal["refuse", "allow"] | PerLine | None = None
    """Answer where nobody can tell what a batch may cost: `refuse` (usual under `enforce`), `allow`, or dollars for each line."""
    alerts: tuple[int, ...] = (50, 80, 100)
    """Percent of the limit at which there is an alert."""
    full: Literal["refuse", "wait"] = "refuse"
    """With `limit_tokens`: whether a create of the SDK or the command line waits for room."""
    adopt_open: bool = False
    """Reserve for batches that are open when the budget is made, too."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone: write one as Europe/Berlin, or UTC") from None
        return name

    @field_validator("alerts")
    @classmethod
    def _percents(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 < percent <= _HIGHEST_PERCENT for percent in given):
            raise ValueError(f"are percent: 1 to {_HIGHEST_PERCENT}")
        return tuple(sorted(set(given)))

    @field_validator("scope")
    @classmethod
    def _named(cls, given: dict[Dimension, str]) -> dict[Dimension, str]:
        if any(not text for text in given.values()):
            raise ValueError('has an empty value: leave it out, or write "*" for each')
        return given

    @model_validator(mode="after")
    def _one_limit(self) -> "BudgetSettings":
        if (self.limit is None) == (self.limit_tokens is None):
            raise ValueError("set one of limit (US dollars) and limit_tokens")
        return self

    @property
    def unit(self) -> Literal["usd", "tokens"]:
        return "usd" if self.limit_tokens is None else "tokens"

    @property
    def unknown(self) -> "Literal['refuse', 'allow'] | PerLine":
        if self.on_unknown is not None:
            return self.on_unknown
        return "refuse" if self.mode == "enforce" else "allow"


class AlertsSettings(BaseModel):
    """`[plugins.budgets.alerts]`: besides budgets. What is not set is not told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_late: Literal["p99"] | Annotated[float, Field(gt=0)] | None = None
    """Hours from creation, or `p99`: longer than 99 of 100 batches of the account took."""
    batch_failed: bool = False
    """A batch failed, expired or was cancelled."""
    unknown_cost: Dollars | None = None
    """US dollars that an ended batch may still cost, by what was reserved for it."""
    logger_owed: Annotated[float, Field(gt=0)] | None = None
    """Hours that a logger's oldest event has waited."""
    prices_old: Annotated[int, Field(gt=0)] | None = None
    """Days since the price catalogue was made."""


class BudgetsSettings(SettingsWithTables, frozen=True):
    """`[plugins.budgets]`: each table in it is a budget, `alerts` excepted."""

    tables = "budgets"

    budgets: dict[str, BudgetSettings] = Field(default_factory=dict[str, BudgetSettings])
    """By name; `[plugins.budgets.search]` is short for `[plugins.budgets.budgets.search]`."""
    alerts: AlertsSettings = AlertsSettings()
    """Alerts besides budgets."""
    every: float = Field(default=30.0, gt=0)
    """Seconds between two looks for what a crash left, and for alerts that no event brings."""

    @field_validator("budgets")
    @classmethod
    def _names(cls, given: dict[str, BudgetSettings]) -> dict[str, BudgetSettings]:
        for name in given:
            checked_name(name)
        return given
