"""Alerts: written in the transaction that moved the sums, recorded as events after it, once whatever crashes."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from batchmeter.errors import LedgerError
from batchmeter.models import Attribution

from .book import Book, Budget
from .events import Alert, AlertPeriod, BudgetAlert, BudgetAlertKind, alert_id, dollars
from .periods import instant
from .scopes import shown

if TYPE_CHECKING:
    from batchmeter.host import TableRow, TableSession

log = logging.getLogger("batchmeter.budgets")

_READ: TypeAdapter[BudgetAlert | Alert] = TypeAdapter(BudgetAlert | Alert)
_PAGE = 100
_MOST_TOLD = 100_000


@dataclass(frozen=True, slots=True)
class Cause:
    """The batch that moved a sum."""

    account: str = ""
    provider: str = ""
    batch_id: str = ""
    attribution: Attribution = field(default_factory=Attribution)


@dataclass(slots=True)
class Alerts:
    """State of one process."""

    book: Book
    _written: set[str] = field(default_factory=set[str])
    """Ids that are in the table: most sums that are over a threshold were so before."""

    async def judge(
        self, session: "TableSession", budget: Budget, row: "TableRow", cause: Cause, *, settled: bool
    ) -> bool:
        """Write what this period's sums call for; True where there is something to tell. `row`: the sums as they are now."""
        news = False
        for kind, threshold, text in _due(budget, row, budget.limit(session.now), settled=settled):
            news |= await self.write(session, self.event(budget, row, kind, threshold, text, cause, session.now))
        return news

    async def after(self, moved: "Sequence[tuple[Budget, TableRow]]", cause: Cause, *, settled: bool = False) -> None:
        """Write and tell the alerts that committed sums call for. After a crash in between, the next look does the same."""
        now = self.book.host.now()
        due = [(budget, row) for budget, row in moved if self._is_new(budget, row, now, settled=settled)]
        if not due:
            return

        async def work(session: "TableSession") -> list[bool]:
            return [await self.judge(session, budget, row, cause, settled=settled) for budget, row in due]

        if any(await self.book.tables.write(work)):
            await self.tell_soon()

    def _is_new(self, budget: Budget, row: "TableRow", now: int, *, settled: bool) -> bool:
        found = _due(budget, row, budget.limit(now), settled=settled)
        ids = [alert_id(budget.id, row["bucket"], row["start"], kind, percent, "") for kind, percent, _ in found]
        return any(one not in self._written for one in ids)

    def event(
        self,
        budget: Budget,
        row: "TableRow",
        kind: BudgetAlertKind,
        threshold: int,
        text: str,
        cause: Cause,
        now: int,
        *,
        about: str = "",
        projected: Decimal | None = None,
    ) -> BudgetAlert:
        """`about`: what makes one of several of the kind."""
        where = f" ({shown(row['bucket'])})" if row["bucket"] else ""
        ends = row["ends"]
        return BudgetAlert(
            id=alert_id(budget.id, row["bucket"], row["start"], kind, threshold, about),
            time=instant(now),
            account=cause.account,
            provider=cause.provider,
            batch_id=cause.batch_id,
            attribution=cause.attribution,
            kind=kind,
            budget=budget.name,
            bucket=row["bucket"],
            threshold=threshold,
            unit=budget.settings.unit,
            limit=budget.amount(budget.limit(now)),
            spent=budget.amount(row["spent"], row["spent_atto"]),
            reserved=budget.amount(row["reserved"]),
            uncertain=budget.amount(row["uncertain"]),
            projected=projected,
            period=AlertPeriod(start=instant(row["start"]), end=None if ends is None else instant(ends)),
            message=f"Budget '{budget.name}'{where} {text}.",
        )

    async def write(self, session: "TableSession", event: BudgetAlert | Alert) -> bool:
        """True where it is new. The transaction may still be undone: only then is it written once more."""
        if event.id in self._written:
            return False
        row = await session.row("add_alert", id=event.id, document=event.model_dump_json())
        if row is None:  # it is there already, for good
            self.remember(event.id)
        return row is not None

    async def tell(self) -> int:
        """Record what was written and is not recorded yet, by any process; returns how many."""
        count = 0
        while page := await self.book.tables.rows("untold", limit=_PAGE):
            for row in page:
                await self.book.host.record(_READ.validate_json(row["document"]))
                await self.book.tables.run("alert_told", id=row["id"])
                self.remember(row["id"])
                count += 1
        return count

    async def tell_soon(self) -> None:
        """Nobody's batch is refused because an alert could not be recorded: the next look does it."""
        try:
            await self.tell()
        except LedgerError as error:
            log.warning("budgets: an alert is recorded later: %s", error)

    def remember(self, alert: str) -> None:
        if len(self._written) >= _MOST_TOLD:
            self._written.clear()
        self._written.add(alert)


def used(row: "TableRow") -> int:
    return int(row["spent"] + (1 if row["spent_atto"] else 0) + row["reserved"] + row["uncertain"])


def _due(budget: Budget, row: "TableRow", limit: int, *, settled: bool) -> Iterator[tuple[BudgetAlertKind, int, str]]:
    """Kind, percent and words of all that holds; those that were told are left out by their ids."""
    whole, spent = used(row), int(row["spent"] + (1 if row["spent_atto"] else 0))
    limited = budget.text(limit)
    for percent in budget.settings.alerts:
        if whole * 100 >= limit * percent and whole > 0:
            rest = budget.text(max(whole - spent, 0))
            yield (
                "threshold",
                percent,
                f"has {percent} % of {limited} taken: {budget.text(spent)} spent, {rest} reserved",
            )
        if settled and spent * 100 >= limit * percent and spent > 0:
            yield "spent", percent, f"has {percent} % of {limited} spent: {budget.text(spent)}"
    if settled and spent > limit:
        yield "exceeded", 0, f"is exceeded: {budget.text(spent)} spent of {limited}"


def cause_of(given: Any) -> Cause:
    """The batch that an event is about."""
    return Cause(given.account, given.provider, given.batch_id, given.attribution)


def unknown_cost(cause: Cause, amount: Decimal, now: int) -> Alert:
    return Alert(
        id=alert_id("unknown_cost", cause.account, cause.batch_id),
        time=instant(now),
        account=cause.account,
        provider=cause.provider,
        batch_id=cause.batch_id,
        attribution=cause.attribution,
        kind="unknown_cost",
        subject=cause.batch_id,
        amount=amount,
        message=f"Batch {cause.batch_id} of {cause.account} has ended, and may have cost up to {dollars(amount)} that nobody knows of.",
    )
