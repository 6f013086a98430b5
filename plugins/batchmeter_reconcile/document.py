"""A reconciliation as a document: rows, unread lines, untracked batches, and what to do next; JSON that is kept as it is."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

from .causes import words
from .figures import EXACT, Figures
from .judge import DRIFT, Compared, Comparison, Status
from .ours import Ours

Document = dict[str, Any]
WORST: Sequence[Status] = (
    "ours_missing", "vendor_missing", "price_drift", "unmatched_items", "pending", "unverifiable", "explained", "match",
)  # fmt: skip
"""The status of a whole is that of its worst row."""
MOST_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class About:
    """The question, as the document repeats it."""

    id: str
    account: str
    accounts: Sequence[str]
    provider: str
    source: str
    made_at: datetime
    first: date
    last: date
    settle_hours: float
    books_at: str
    tolerance: Decimal
    exclusive: bool = False


@dataclass(slots=True)
class Untracked:
    """A batch at the vendor that the ledger does not know."""

    account: str
    batch_id: str
    status: str
    created_at: datetime | None
    requests: int
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def adopt(self) -> str:
        """Quoted for a shell: the id is the vendor's text."""
        return shlex.join(["batchmeter", "adopt", "--account", self.account, self.batch_id])


def document(
    about: About, found: Comparison, ours: Ours, figures: Figures, untracked: Iterable[Untracked] | None = None
) -> Document:
    unread = [_unmatched(text, one) for text, one in sorted(figures.unmatched.items())]
    suspect = any(one["batch"] for one in unread)
    statuses = Counter(row.status for row in found.rows)
    if unread:
        statuses["unmatched_items"] += len(unread)
    return {
        "object": "reconciliation",
        "id": about.id,
        "account": about.account,
        "accounts": list(about.accounts),
        "provider": about.provider,
        "source": about.source,
        "source_sha256": figures.digest.hexdigest(),
        "made_at": _instant(about.made_at),
        "from": about.first.isoformat(),
        "to": about.last.isoformat(),
        "status": _worst(found.rows, suspect=suspect, unread=bool(unread)),
        "statuses": dict(sorted(statuses.items())),
        "drift_usd": plain(drift_usd(found.rows)),
        "settle_hours": about.settle_hours,
        "books_at": about.books_at,
        "tolerance_percent": plain(about.tolerance),
        "batches": ours.settled,
        "open_batches": None if ours.open is None else len(ours.open),
        "days": _days(found.rows, about),
        "rows": [_row(row, about) for row in _worst_first(found.rows)],
        "unmatched": unread,
        "other_traffic": {"rows": figures.other.rows, "usd": plain(figures.other.amount)},
        "untracked": None if untracked is None else [_untracked(one) for one in untracked],
        "notes": [*figures.notes, *_notes(ours, found, about)],
    }


def _worst(rows: Sequence[Compared], *, suspect: bool, unread: bool) -> str:
    """Lines that nobody can read count before `pending` only where they may be batches'."""
    found: set[str] = {row.status for row in rows}
    if unread:
        found.add("unmatched_items")
    order = WORST if suspect else [one for one in WORST if one != "unmatched_items"]
    return next((one for one in order if one in found), "match")


def _days(rows: Sequence[Compared], about: About) -> dict[str, str]:
    """Each day's worst status; a day without rows agrees, as neither side has anything on it."""
    found: dict[str, str] = {}
    day = about.first
    while day <= about.last:
        statuses = {row.status for row in rows if row.run.first <= day <= row.run.last}
        found[day.isoformat()] = next((one for one in WORST if one in statuses), "match")
        day += timedelta(days=1)
    return found


def is_drift(found: Document) -> bool:
    """Something that somebody has to look at."""
    return found["status"] in {*DRIFT, "unmatched_items"}


def drift_usd(rows: Iterable[Compared]) -> Decimal:
    """US dollars: the differences of all rows that drift, of which money is known; `prompt` is the sum of others."""
    with localcontext(EXACT):
        return sum(
            (
                abs(row.vendor_usd - row.ours_usd)
                for row in rows
                if row.status in DRIFT and row.vendor_usd is not None and row.ours_usd is not None and row.kind != "prompt"
            ),
            Decimal(0),
        )  # fmt: skip


def _row(row: Compared, about: About) -> Document:
    found: Document = {
        "from": row.run.first.isoformat(),
        "to": row.run.last.isoformat(),
        "model": row.model,
        "kind": row.kind,
        "status": row.status,
        "ours": row.ours,
        "vendor": None if row.vendor is None else plain(row.vendor),
        "difference": None if row.vendor is None else plain(row.difference),
        "ours_usd": None if row.ours_usd is None else plain(row.ours_usd),
        "vendor_usd": None if row.vendor_usd is None else plain(row.vendor_usd),
    }
    if not row.run.whole:
        found["at_least"] = row.at_least
    if row.status == "price_drift" and row.ours and row.ours_usd is not None and row.vendor_usd is not None:
        found["ours_usd_per_million"] = _per_million(row.ours_usd, row.ours)
        found["vendor_usd_per_million"] = _per_million(row.vendor_usd, row.ours)
    if row.days and row.status != "match":
        found["days"] = [
            {"day": one.day.isoformat(), "vendor": plain(one.vendor or Decimal(0)), "at_least": one.at_least,
             "at_most": one.at_most, "outside": one.outside}
            for one in row.days
        ]  # fmt: skip
    if row.scopes:
        found["scopes"] = {name: plain(units) for name, units in sorted(row.scopes.items())}
    if row.cause:
        text = words(row, about.account, about.provider)
        found |= {"cause": row.cause, "why": text, "next": row.next, "batches": row.batches}
    return found


def _per_million(usd: Decimal, units: int) -> str:
    with localcontext(EXACT):
        return plain((usd * 1_000_000 / units).quantize(Decimal("0.000001")))


def _unmatched(text: str, one: Any) -> Document:
    return {
        "item": text, "rows": one.rows, "usd": plain(one.amount), "quantity": plain(one.quantity), "batch": one.batch,
        "from": None if one.first is None else one.first.isoformat(), "to": None if one.last is None else one.last.isoformat(),
    }  # fmt: skip


def _untracked(one: Untracked) -> Document:
    created = None if one.created_at is None else _instant(one.created_at)
    return {
        "account": one.account, "batch_id": one.batch_id, "status": one.status, "created_at": created,
        "requests": one.requests, "adopt": one.adopt,
    }  # fmt: skip


def _worst_first(rows: Sequence[Compared]) -> Sequence[Compared]:
    """All of them in their order; of more than a document holds, those that need a look."""
    if len(rows) <= MOST_ROWS:
        return rows
    return sorted(rows, key=lambda row: WORST.index(row.status))[:MOST_ROWS]


def _notes(ours: Ours, compared: Comparison, about: About) -> list[str]:
    found: list[str] = []
    if len(compared.rows) > MOST_ROWS:
        found.append(f"{len(compared.rows):,} rows: the {MOST_ROWS:,} that need a look most are kept")
    if ours.pruned:
        found.append(
            f"{ours.pruned:,} batches settled since {about.first} are pruned from the ledger: they are missing from ours"
        )
    return found


def plain(amount: Decimal) -> str:
    """Digits without exponent or needless zeros."""
    text = format(amount, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
