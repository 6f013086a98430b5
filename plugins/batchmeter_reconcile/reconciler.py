"""One reconciliation from the question to the kept document."""

import asyncio
import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchmeter.errors import ProviderError, UsageError

from .causes import explain
from .document import About, Document, document
from .events import drifts
from .figures import BILL_KINDS, Figures
from .judge import Comparison, Terms, compare
from .names import Names
from .ours import Ours, read_open, read_ours
from .settings import BillSettings, ReconcileSettings
from .sources import BillingSource, By, Question
from .tables import MIGRATIONS, STATEMENTS
from .untracked import untracked

if TYPE_CHECKING:
    from batchmeter import AsyncClient
    from batchmeter.host import PluginHost, Tables

log = logging.getLogger("batchmeter.reconcile")

BILL_SETTLES = 48.0
MOST_DAYS = 400
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Request:
    """One question; None: as the settings say."""

    first: date
    last: date
    bill: Path | None = None
    by: By = "project"
    edge_days: int = 1
    """Days more to both sides, so that batches over midnight are whole."""
    tolerance: Decimal | None = None
    """Percent."""
    invented: bool = False
    source: str | None = None
    untracked: bool = False
    """Look for untracked batches also where nothing seems to miss."""

    def check(self) -> None:
        if self.last < self.first:
            raise UsageError(f"{self.first} to {self.last} is no time: the first date comes after the last")
        if (self.last - self.first).days >= MOST_DAYS:
            raise UsageError(f"{self.first} to {self.last}: at most {MOST_DAYS} days at once")


@dataclass(slots=True)
class Reconciler:
    """Reconciliations of one process."""

    host: "PluginHost"
    settings: ReconcileSettings
    _tables: "Tables | None" = field(default=None, init=False)

    async def tables(self) -> "Tables":
        if self._tables is None:
            self._tables = await self.host.store("reconcile", MIGRATIONS, STATEMENTS)
        return self._tables

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.host.now() / 1000, UTC)

    def bill(self, name: str) -> BillSettings:
        return self.settings.bills.get(name) or BillSettings()

    def accounts(self, name: str) -> Sequence[str]:
        return self.bill(name).accounts or (name,)

    def sources(self) -> Mapping[str, BillingSource]:
        """By name: ours, and those of plugins."""
        from .sources import anthropic, azure, openai  # noqa: PLC0415 - with HTTP, only where a vendor is asked

        found: list[BillingSource] = []
        self.host.call_hook("register_billing", register=found.append)
        return {one.name: one for one in (*found, openai.SOURCE, anthropic.SOURCE, azure.SOURCE)}

    async def run(self, name: str, request: Request, client: "AsyncClient | None" = None) -> Document:
        """Ask, compare, keep. ProviderError or UsageError where the vendor cannot be asked; nothing is then kept."""
        request.check()
        bill, accounts = self.bill(name), self.accounts(name)
        edge = _DAY * request.edge_days
        first, last = request.first - edge, request.last + edge
        ours = await read_ours(self.host, accounts, first, last, bill.books_at, invented=request.invented)
        provider = ours.providers.most_common(1)[0][0] if ours.providers else (bill.source or name)
        figures = Figures(first, last, exclusive=bill.exclusive)
        source, settle = await self._ask(name, bill, provider, request, figures)
        names = Names.of(ours.models, figures.models, lambda model: self.host.base_model(provider, model))
        tolerance = self.settings.tolerance if request.tolerance is None else request.tolerance
        terms = Terms(request.first, request.last, self.now, timedelta(hours=settle), tolerance / 100)
        found = await asyncio.to_thread(_compared, ours, figures, names, terms, name, provider)
        if any(row.status == "ours_missing" for row in found.rows):
            ours.open = await read_open(self.host, accounts, last)
            found = await asyncio.to_thread(_compared, ours, figures, names, terms, name, provider)
        listed = await self._untracked(found, accounts, request, client)
        about = About(
            f"rec_{secrets.token_hex(12)}", name, accounts, provider, source, self.now, request.first, request.last,
            settle, bill.books_at, tolerance, bill.exclusive,
        )  # fmt: skip
        made = await asyncio.to_thread(document, about, found, ours, figures, listed)
        await self._keep(made)
        return made

    async def _ask(
        self, name: str, bill: BillSettings, provider: str, request: Request, figures: Figures
    ) -> tuple[str, float]:
        """The name of the source, and the hours that it takes to settle."""
        usual = BILL_SETTLES
        if request.bill is not None:
            from .bills import read_bill  # noqa: PLC0415 - only where a file is given

            await asyncio.to_thread(read_bill, request.bill, figures, self.accounts(name), bill.project_ids)
            figures.kinds = BILL_KINDS
            source = f"bill:{request.bill.name}"
        else:
            chosen = self._source(name, request.source or bill.source, provider)
            figures.kinds = chosen.kinds or BILL_KINDS
            await chosen.ask(Question(bill, request.by), figures)
            source, usual = chosen.name, chosen.settle_hours
        return source, usual if bill.settle_hours is None else bill.settle_hours

    def _source(self, name: str, given: str | None, provider: str) -> BillingSource:
        known = self.sources()
        found = known.get(given or provider) or (None if given else known.get(name))
        if found is None:
            listed = ", ".join(sorted(known))
            raise UsageError(
                f"{given or provider} has no report that can be asked (known: {listed}): give its bill with --bill FILE, "
                f"or set source in [plugins.reconcile.{name}]"
            )
        return found

    async def _untracked(
        self, found: Comparison, accounts: Sequence[str], request: Request, client: "AsyncClient | None"
    ) -> Any:
        """None where nobody looked: nothing seems to miss, or no account is at hand."""
        missing = request.untracked or any(row.status == "ours_missing" for row in found.rows)
        if client is None or not missing:
            return None
        try:
            return await untracked(client, accounts, request.first, request.last)
        except (ProviderError, UsageError) as error:
            if request.untracked:
                raise
            log.warning("reconcile: untracked batches are not looked for: %s", error)
            return None

    async def _keep(self, made: Document) -> None:
        tables = await self.tables()
        await tables.run(
            "add", id=made["id"], account=made["account"], first=made["from"], last=made["to"], made_at=self.host.now(),
            source=made["source"], sha256=made["source_sha256"], status=made["status"], drift_usd=made["drift_usd"],
            days=json.dumps(made["days"]), result=await asyncio.to_thread(json.dumps, made, separators=(",", ":")),
        )  # fmt: skip

    async def tell(self, made: Document) -> int:
        """Record an event for each drift; returns how many are new."""
        return sum([await self.host.record(event) for event in drifts(made)])

    async def listed(self, account: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Newest first, without their rows."""
        rows = await (await self.tables()).rows("listed", account=account, limit=limit)
        return [summary(row) for row in rows]

    async def newest(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Of each account."""
        return [summary(row) for row in await (await self.tables()).rows("newest", limit=limit)]

    async def days(self, since: date, limit: int = 1000) -> dict[str, dict[str, str]]:
        """Bill -> day -> status, by the newest document that covers the day."""
        rows = await (await self.tables()).rows("days", since=since.isoformat(), limit=limit)
        found: dict[str, dict[str, str]] = {}
        for row in reversed(rows):
            found.setdefault(row["account"], {}).update(json.loads(row["days"]))
        return found

    async def shown(self, wanted: str) -> Document:
        """UsageError where there is none."""
        rows = await (await self.tables()).rows("shown", id=wanted)
        if not rows:
            raise UsageError(f"no reconciliation {wanted!r}: `batchmeter reconcile list` names them")
        found: Document = await asyncio.to_thread(json.loads, rows[0]["result"])
        return found


def summary(row: Any) -> dict[str, Any]:
    made = datetime.fromtimestamp(row["made_at"] / 1000, UTC)
    return {
        "id": row["id"],
        "account": row["account"],
        "from": row["first_day"],
        "to": row["last_day"],
        "made_at": made.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "source": row["source"],
        "source_sha256": row["source_sha256"],
        "status": row["status"],
        "drift_usd": row["drift_usd"],
    }


def _compared(ours: Ours, figures: Figures, names: Names, terms: Terms, account: str, provider: str) -> Comparison:
    found = compare(ours, figures, names, terms)
    explain(found, account, provider)
    return found
