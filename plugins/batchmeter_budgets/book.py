"""The budgets themselves: those of the settings and those made by API, kept in the ledger's database, read afresh."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from batchmeter.errors import ConfigError, UsageError

from .events import dollars
from .money import nano_down, usd
from .periods import Period, period_of
from .settings import BudgetSettings, checked_name
from .tables import MIGRATIONS, STATEMENTS

if TYPE_CHECKING:
    from batchmeter.host import PluginHost, TableRow, Tables

FRESH = 2_000
"""Milliseconds for which what was read is believed; limits themselves are compared in the database."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget, live or deleted."""

    id: str
    name: str
    settings: BudgetSettings
    source: str
    """`config` or `api`."""
    most: int
    """The limit, in nanodollars or tokens, without what it is raised by for a time."""
    raised: int
    raised_until: int
    raised_why: str | None
    active_from: int
    """Batches submitted before then do not count: where its first period began."""
    counted: bool
    """Batches that were there when it was made are counted."""
    created_at: int
    deleted_at: int | None

    @property
    def tokens(self) -> bool:
        return self.settings.unit == "tokens"

    def limit(self, now: int) -> int:
        return self.most + (self.raised if self.raised_until > now else 0)

    def period(self, millis: int) -> Period:
        return period_of("total" if self.tokens else self.settings.period, self.settings.timezone, millis)

    def amount(self, whole: int, atto: int = 0) -> Decimal:
        """US dollars, or tokens."""
        return Decimal(whole) if self.tokens else usd(whole, atto)

    def text(self, whole: int) -> str:
        return f"{whole:,} tokens" if self.tokens else dollars(usd(whole))


class Book:
    """The budgets of one ledger, as one process knows them."""

    def __init__(self, host: "PluginHost", tables: "Tables") -> None:
        self.host = host
        self.tables = tables
        self._known: dict[str, Budget] = {}
        self._live: tuple[Budget, ...] = ()
        self._read_at: int | None = None

    @classmethod
    async def open(cls, host: "PluginHost") -> "Book":
        return cls(host, await host.store("budgets", MIGRATIONS, STATEMENTS))

    async def live(self) -> Sequence[Budget]:
        """By id: whoever takes several takes them in one order."""
        now = self.host.now()
        if self._read_at is None or not 0 <= now - self._read_at < FRESH:
            await self.reload()
        return self._live

    async def reload(self) -> None:
        self._read_at = self.host.now()
        found = [_budget(row) for row in await self.tables.rows("budgets")]
        self._known = {one.id: one for one in found}
        self._live = tuple(sorted((one for one in found if one.deleted_at is None), key=lambda one: one.id))

    def get(self, budget_id: str) -> Budget | None:
        """Also a deleted one; None where it is newer than what was read."""
        return self._known.get(budget_id)

    async def find(self, name: str) -> Budget:
        """UsageError for a name that no budget has."""
        await self.reload()
        found = next((one for one in self._live if one.name == name), None)
        if found is None:
            raise UsageError(f"no budget is named {name!r}")
        return found

    async def sync(self, wanted: Mapping[str, BudgetSettings]) -> None:
        """Make what the settings name, change what differs, delete what they no longer name."""
        await self.reload()
        known = {one.name: one for one in self._live}
        for name, settings in wanted.items():
            await self.put(name, settings, source="config", known=known.get(name))
        for one in self._live:
            if one.source == "config" and one.name not in wanted:
                await self.tables.run("delete_budget", id=one.id)
        await self.reload()

    async def put(self, name: str, settings: BudgetSettings, *, source: str, known: Budget | None) -> None:
        """A budget keeps its sums when its limit changes; with another scope or period it is another budget."""
        checked_name(name)
        if known is not None and (known.settings, known.source) == (settings, source):
            return
        if known is not None and _same_sums(known.settings, settings):
            await self.tables.run("change_budget", id=known.id, source=source, **_columns(settings))
            return
        if known is not None:
            await self.tables.run("delete_budget", id=known.id)
        now, columns = self.host.now(), _columns(settings)
        period = period_of("total" if settings.unit == "tokens" else settings.period, settings.timezone, now)
        since = now if period.end is None else period.start
        await self.tables.run(
            "add_budget", id=str(uuid.uuid4()), name=name, source=source, active_from=since, **columns
        )

    async def change(self, name: str, settings: BudgetSettings, *, new: bool = False) -> Budget:
        """By API or command. UsageError where the name is taken, or belongs to the settings."""
        await self.reload()
        known = next((one for one in self._live if one.name == name), None)
        if known is not None:
            self.check_own(known)
        if new and known is not None:
            raise UsageError(f"a budget is named {name!r} already: change it, or take another name")
        try:
            await self.put(name, settings, source="api", known=known)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return await self.find(name)

    async def delete(self, name: str) -> None:
        """Its history is kept."""
        found = await self.find(name)
        self.check_own(found)
        await self.tables.run("delete_budget", id=found.id)
        await self.reload()

    async def raise_limit(self, name: str, amount: int, until: int, why: str | None) -> Budget:
        """For a time, whatever the settings say; 0 takes it back."""
        found = await self.find(name)
        await self.tables.run("raise_budget", id=found.id, raised=amount, until=until, why=why)
        return await self.find(name)

    def check_own(self, budget: Budget) -> None:
        if budget.source == "config":
            raise ManagedByConfigError(
                f"budget {budget.name!r} stands in the configuration: change [plugins.budgets.{budget.name}] there"
            )


class ManagedByConfigError(ConfigError):
    """A budget of the settings file is changed there (409 `managed_by_config`)."""


def _same_sums(one: BudgetSettings, other: BudgetSettings) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("scope", "period", "timezone", "unit"))


def _columns(settings: BudgetSettings) -> dict[str, Any]:
    most = settings.limit_tokens if settings.limit is None else nano_down(settings.limit)
    return {"settings": settings.model_dump_json(), "most": most}


def _budget(row: "TableRow") -> Budget:
    return Budget(
        id=row["id"],
        name=row["name"],
        settings=BudgetSettings.model_validate(json.loads(row["settings"])),
        source=row["source"],
        most=row["most"],
        raised=row["raised"],
        raised_until=row["raised_until"],
        raised_why=row["raised_why"],
        active_from=row["active_from"],
        counted=bool(row["counted"]),
        created_at=row["created_at"],
        deleted_at=row["deleted_at"],
    )
