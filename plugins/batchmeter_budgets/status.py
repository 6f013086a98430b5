"""How a budget stands: each bucket's sums in its present period, as the API, the command and the pages show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from batchmeter.models import Attribution

from .alerting import used
from .book import Book, Budget
from .forecast import projection
from .money import usd
from .periods import Period, instant, iso
from .scopes import may_see, own_buckets, shown

if TYPE_CHECKING:
    from batchmeter.host import TableRow

_MOST = 1000
_DRIFTS = 50


@dataclass(frozen=True, slots=True)
class Standing:
    """One bucket of a budget in one period. Amounts in US dollars, or tokens."""

    budget: Budget
    bucket: str
    period: Period
    limit: Decimal
    spent: Decimal
    uncertain: Decimal
    reserved: Decimal
    left: Decimal
    batches: int

    @property
    def name(self) -> str:
        return f"{self.budget.name} ({shown(self.bucket)})" if self.bucket else self.budget.name

    @property
    def until(self) -> datetime | None:
        return None if self.period.end is None else instant(self.period.end)

    def document(self) -> dict[str, Any]:
        amounts = {name: f"{getattr(self, name):f}" for name in ("limit", "spent", "uncertain", "reserved", "left")}
        return {
            "budget": self.budget.name,
            "bucket": self.bucket,
            "unit": self.budget.settings.unit,
            **amounts,
            "batches": self.batches,
            "start": iso(self.period.start),
            "until": None if self.period.end is None else iso(self.period.end),
        }


async def standings(
    book: Book, budget: Budget, buckets: Sequence[str] | None = None, *, most: int = _MOST
) -> list[Standing]:
    """The fullest buckets of the present period, or these; the only one of a budget also before its first batch."""
    now = book.host.now()
    period = budget.period(now)
    chosen = None if buckets is None else list(buckets) or [""]
    where = {"budget_id": budget.id, "start": period.start, "buckets": chosen, "limit": most}
    rows = sorted(await book.tables.rows("present", **where), key=lambda row: str(row["bucket"]))
    found = [_standing(budget, period, row, now) for row in rows]
    if not found and "*" not in budget.settings.scope.values():
        limit = budget.amount(budget.limit(now))
        nothing = Decimal(0)
        found.append(Standing(budget, "", period, limit, nothing, nothing, nothing, limit, 0))
    return found


async def visible(book: Book, attribution: Attribution, accounts: frozenset[str] | None) -> list[Standing]:
    """Buckets that are about the caller's own batches, in the accounts that it may use (None: all), others' sums included."""
    found: list[Standing] = []
    for budget in await book.shown():
        for one in await standings(book, budget, own_buckets(budget.settings.scope, attribution)):
            if may_see(budget.settings.scope, one.bucket, attribution, accounts):
                found.append(one)  # noqa: PERF401 - an async comprehension over two loops reads worse
    return found[:_MOST]


async def drifts(book: Book, budget: Budget) -> list[dict[str, Any]]:
    """By models: what ended batches of the present period cost, for each dollar that was reserved for them.

    An `expected` reservation should come to 0.8 to 1.2; an `upper` one, a bound, to less than 1.
    """
    if budget.tokens:
        return []
    since = budget.period(book.host.now()).start
    rows = await book.tables.rows("drift", budget_id=budget.id, since=since, limit=_DRIFTS)
    return [
        {
            "models": (row["models"] or "").split("\n"),
            "basis": row["basis"],
            "batches": row["batches"],
            "reserved": f"{usd(row['reserved']):f}",
            "spent": f"{usd(row['spent']):f}",
            "drift": round(row["spent"] / row["reserved"], 3),
        }
        for row in rows
    ]


async def days(book: Book, one: Standing) -> dict[int, tuple[Decimal, Decimal]]:
    """Days since the period began -> what is spent, and what is held, of the batches submitted then."""
    where = {"budget_id": one.budget.id, "bucket": one.bucket, "start": one.period.start}
    rows = await book.tables.rows("days", **where)
    return {row["day"]: (one.budget.amount(row["spent"]), one.budget.amount(row["held"])) for row in rows}


async def projected(book: Book, one: Standing) -> Decimal | None:
    where = {"budget_id": one.budget.id, "bucket": one.bucket, "start": one.period.start}
    spends = {row["day"]: row["spent"] + row["held"] for row in await book.tables.rows("days", **where)}
    likely = projection(one.period, book.host.now(), spends)
    return None if likely is None else one.budget.amount(likely)


def budget_document(budget: Budget, now: int, found: list[Standing]) -> dict[str, Any]:
    settings = budget.settings.model_dump(mode="json", exclude_none=True)
    raised = budget.raised_until > now and budget.raised
    override = {
        "amount": f"{budget.amount(budget.raised):f}",
        "until": iso(budget.raised_until),
        "reason": budget.raised_why,
    }
    return {
        "object": "budget",
        "name": budget.name,
        "source": budget.source,
        **settings,
        "override": override if raised else None,
        "buckets": [one.document() for one in found],
    }


def reservation_document(budget: Budget, row: "TableRow") -> dict[str, Any]:
    amounts = {"amount": budget.amount(row["amount"]), "uncertain": budget.amount(row["uncertain"])}
    known = budget.amount(row["known"], row["known_atto"])
    return {
        "submission": row["submission"].replace("\x1f", "/"),
        "account": row["account"],
        "batch_id": row["batch_id"],
        "bucket": row["bucket"],
        "state": row["state"],
        "basis": row["basis"],
        **{name: f"{amount:f}" for name, amount in {**amounts, "known": known}.items()},
        "who": row["who"],
        "reason": row["reason"],
        "created_at": iso(row["created_at"]),
    }


def _standing(budget: Budget, period: Period, row: "TableRow", now: int) -> Standing:
    limit = budget.limit(now)
    return Standing(
        budget,
        row["bucket"],
        period,
        budget.amount(limit),
        budget.amount(row["spent"], row["spent_atto"]),
        budget.amount(row["uncertain"]),
        budget.amount(row["reserved"]),
        budget.amount(max(limit - used(row), 0)),
        row["batches"],
    )
