"""The budgets themselves: those of the settings and those made by API, kept in the ledger's database, read afresh."""

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from batchmeter.errors import ConfigError, UsageError

from .events import dollars
from .money import nano_down, usd
from .periods import Period, iso, period_of
from .settings import BudgetSettings, checked_name
from .tables import MIGRATIONS, STATEMENTS

if TYPE_CHECKING:
    from batchmeter.host import PluginHost, TableRow, Tables, TableSession

log = logging.getLogger("batchmeter.budgets")

LIMIT = "limit"
_CHANGING = [
    "name",
    "settings",
    "source",
    "most",
    "raised",
    "raised_until",
    "raised_why",
    "active_from",
    "counted",
    "updated_at",
    "deleted_at",
]
FRESH = 2_000
"""Milliseconds for which what was read is believed; limits themselves are compared in the database."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget, live or deleted."""

    id: str
    name: str
    settings: BudgetSettings
    source: str
    """`config`, `api`, or `limit` for one that stands with a key or an account."""
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
    state: tuple[Any, ...] = ()
    """Columns that may change, as they were read."""

    @property
    def tokens(self) -> bool:
        return self.settings.unit == "tokens"

    @property
    def vague(self) -> bool:
        """An account's limit: its vendor has one, too, and a refusal there made nothing; so what nobody counted passes."""
        return self.source == LIMIT and self.settings.unknown == "allow"

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
        self._named: frozenset[str] = frozenset()
        """Budgets of this process's settings."""

    @classmethod
    async def open(cls, host: "PluginHost") -> "Book":
        return cls(host, await host.store("budgets", MIGRATIONS, STATEMENTS))

    async def live(self) -> Sequence[Budget]:
        """All but the limits of keys and accounts, which hold for a batch that comes with them."""
        return [one for one in await self._fresh() if one.source != LIMIT]

    async def limits(self) -> Sequence[Budget]:
        """Limits of keys and accounts that a batch has met."""
        return [one for one in await self._fresh() if one.source == LIMIT]

    async def shown(self) -> Sequence[Budget]:
        """All, by name."""
        return sorted(await self._fresh(), key=lambda one: one.name)

    async def _fresh(self) -> Sequence[Budget]:
        now = self.host.now()
        if self._read_at is None or not 0 <= now - self._read_at < FRESH:
            await self.reload()
        return self._live

    async def reload(self) -> None:
        self._read_at = self.host.now()
        found = [self._budget(row) for row in await self.tables.rows("budgets")]
        self._known = {one.id: one for one in found}
        self._live = tuple(sorted((one for one in found if one.deleted_at is None), key=lambda one: one.id))

    def _budget(self, row: "TableRow") -> Budget:
        """As it is known: the settings of each are read once a change."""
        known = self._known.get(row["id"])
        state = tuple(row[name] for name in _CHANGING)
        return known if known is not None and known.state == state else _budget(row, state)

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
        """Make what the settings name, and change what differs. A budget belongs to the ledger: another process may name
        others, so one that these settings leave out stays until somebody removes it."""
        self._named = frozenset(wanted)
        await self.reload()
        known = {one.name: one for one in self._live}
        for name, settings in wanted.items():
            await self.put(name, settings, source="config", known=known.get(name), who="configuration")
        await self.reload()
        if self.unnamed:
            text = "budgets that this configuration does not name hold too: %s; `batchmeter budgets remove` ends one"
            log.info(text, ", ".join(self.unnamed))

    @property
    def unnamed(self) -> list[str]:
        """Budgets that came from a configuration, and not from this process's."""
        return sorted(one.name for one in self._live if one.source == "config" and one.name not in self._named)

    async def put(self, name: str, settings: BudgetSettings, *, source: str, known: Budget | None, who: str) -> None:
        """A budget keeps its sums when its limit changes; with another scope or period it is another budget."""
        if known is not None and (known.settings, known.source) == (settings, source):
            return
        columns = _columns(settings)
        kept = known is not None and _same_sums(known.settings, settings)

        async def work(session: "TableSession") -> None:
            if known is not None and kept:
                if await session.run("change_budget", id=known.id, source=source, **columns):
                    await _note(session, known.id, "changed", who, columns["settings"])
                return
            if known is not None and await session.run("delete_budget", id=known.id):
                await _note(session, known.id, "replaced", who, columns["settings"])
            new, since = str(uuid.uuid4()), _since(settings, session.now)
            if await session.row("add_budget", id=new, name=name, source=source, active_from=since, **columns):
                await _note(session, new, "made", who, columns["settings"])

        await self.tables.write(work)

    async def change(self, name: str, settings: BudgetSettings, *, who: str, new: bool = False) -> Budget:
        """By API or command. UsageError where the name is taken, or belongs to the settings."""
        await self.reload()
        known = next((one for one in self._live if one.name == name), None)
        if known is not None:
            self.check_own(known)
        if new and known is not None:
            raise UsageError(f"a budget is named {name!r} already: change it, or take another name")
        try:
            checked_name(name)
        except ValueError as error:
            raise UsageError(str(error)) from None
        await self.put(name, settings, source="api", known=known, who=who)
        return await self.find(name)

    async def delete(self, name: str, *, who: str) -> None:
        """Its history is kept."""
        found = await self.find(name)
        self.check_own(found)
        await self._write(found, "removed", who, found.settings.model_dump_json(), "delete_budget")
        await self.reload()

    async def raise_limit(self, name: str, amount: int, until: int, why: str | None, *, who: str) -> Budget:
        """For a time, whatever the settings say; 0 takes it back."""
        found = await self.find(name)
        raised = {"amount": f"{found.amount(amount):f}", "until": iso(until), "reason": why}
        changed = {"raised": amount, "until": until, "why": why}
        await self._write(found, "raised", who, json.dumps(raised), "raise_budget", **changed)
        return await self.find(name)

    async def changes(self, budget: Budget, limit: int = 20) -> list[dict[str, Any]]:
        """Changes of a budget, its removal and its raises, newest first: each with the one who did it."""
        rows = await self.tables.rows("changes", budget_id=budget.id, limit=limit)
        return [
            {
                "action": row["action"],
                "who": row["who"],
                "at": iso(row["created_at"]),
                "settings": json.loads(row["settings"]),
            }
            for row in rows
        ]

    async def _write(
        self, budget: Budget, action: str, who: str, settings: str, statement: str, **changed: object
    ) -> None:
        async def work(session: "TableSession") -> None:
            if await session.run(statement, id=budget.id, **changed):
                await _note(session, budget.id, action, who, settings)

        await self.tables.write(work)

    def check_own(self, budget: Budget) -> None:
        if budget.source == "config" and budget.name in self._named:
            raise ManagedByConfigError(
                f"budget {budget.name!r} stands in the configuration: change [plugins.budgets.{budget.name}] there"
            )


class ManagedByConfigError(ConfigError):
    """A budget of the settings file is changed there (409 `managed_by_config`)."""


def _same_sums(one: BudgetSettings, other: BudgetSettings) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("scope", "period", "timezone", "unit"))


def _since(settings: BudgetSettings, now: int) -> int:
    """Batches submitted before then do not count: the beginning of its first period."""
    period = period_of("total" if settings.unit == "tokens" else settings.period, settings.timezone, now)
    return now if period.end is None else period.start


async def _note(session: "TableSession", budget_id: str, action: str, who: str, settings: str) -> None:
    change = str(uuid.uuid4())
    await session.run("note_change", id=budget_id, change=change, action=action, who=who, settings=settings)


def _columns(settings: BudgetSettings) -> dict[str, Any]:
    most = settings.limit_tokens if settings.limit is None else nano_down(settings.limit)
    return {"settings": settings.model_dump_json(), "most": most}


def _budget(row: "TableRow", state: tuple[Any, ...]) -> Budget:
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
        state=state,
    )
