"""Alerts besides budgets: late and failed batches, loggers that are owed, and a price catalogue that has grown old."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .alerting import Alerts
from .book import Book
from .events import Alert, alert_id
from .periods import instant
from .settings import AlertsSettings
from .settle import created_at

if TYPE_CHECKING:
    from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
    from batchmeter.host import TableRow, Total

HOUR = 3_600_000
DAY = 86_400_000
FEWEST = 50
"""Batches of an account from which its usual time is known."""
PAGE = 500
_SHARE = 0.99


@dataclass(slots=True)
class Watch:
    book: Book
    alerts: Alerts
    settings: AlertsSettings
    _usual: dict[str, float] = field(default_factory=dict[str, float])
    """Account -> hours; of `p99`."""

    async def created(self, event: "BatchCreated") -> None:
        if self.settings.batch_late is not None:
            where = {"account": event.account, "batch_id": event.batch_id}
            await self.book.tables.run("add_open", **where, created_at=created_at(event))

    async def ended(self, event: "BatchSucceeded | BatchFailed") -> None:
        if self.settings.batch_late is not None:
            await self.book.tables.run("drop_open", account=event.account, batch_id=event.batch_id)
        if self.settings.batch_failed and event.type == "batch_failure" and event.revision == 1:
            done = f"{event.request_counts.succeeded:,} of {event.request_counts.total:,} requests were done"
            text = f"Batch {event.batch_id} of {event.account} is {event.status}; {done}."
            alert = self._alert("batch_failed", event.batch_id, text, event.account, event.batch_id)
            await self._write(alert.model_copy(update={"provider": event.provider, "attribution": event.attribution}))
            await self.alerts.tell()

    async def look(self) -> None:
        await self._late()
        await self._owed()
        await self._prices()

    async def _late(self) -> None:
        chosen, now = self.settings.batch_late, self.book.host.now()
        if chosen is None:
            return
        if chosen == "p99":
            self._usual = _p99(await self.book.host.totals() or ()) or self._usual
            if not self._usual:
                return
        shortest = min(self._usual.values()) if chosen == "p99" else chosen
        rows = await self.book.tables.rows("open_since", before=now - int(shortest * HOUR), limit=PAGE)
        for row in rows:
            longest = self._usual.get(row["account"]) if chosen == "p99" else chosen
            if longest is not None and now - row["created_at"] > longest * HOUR:
                await self._tell_late(row, now)

    async def _tell_late(self, row: "TableRow", now: int) -> None:
        hours = round((now - row["created_at"]) / HOUR, 2)
        text = f"Batch {row['batch_id']} of {row['account']} has been open for {hours:g} hours."
        alert = self._alert("batch_late", row["batch_id"], text, row["account"], row["batch_id"])
        await self._write(alert.model_copy(update={"hours": hours}))

    async def _owed(self) -> None:
        longest, now = self.settings.logger_owed, self.book.host.now()
        if longest is None:
            return
        for gauge in await self.book.host.backlogs():
            oldest = gauge.oldest_pending_at
            if oldest is not None and now - oldest > longest * HOUR:
                hours = round((now - oldest) / HOUR, 2)
                text = f"Logger {gauge.logger} has been owed an event for {hours:g} hours; {gauge.pending:,} wait."
                # One for each oldest event: a logger that recovers and fails again is told of again.
                alert = self._alert("logger_owed", gauge.logger, text, "", "", oldest)
                await self._write(alert.model_copy(update={"hours": hours}))

    async def _prices(self) -> None:
        days, built = self.settings.prices_old, self.book.host.prices_as_of
        if days is None or built is None:
            return
        now = self.book.host.now()
        age = (instant(now).date() - built).days
        if age > days:
            text = f"The price catalogue is of {built}, {age} days old: run `batchmeter prices update`."
            await self._write(self._alert("prices_old", built.isoformat(), text, "", ""))

    def _alert(self, kind: str, subject: str, text: str, account: str, batch_id: str, *about: object) -> Alert:
        return Alert.model_validate({
            "id": alert_id(kind, account, subject, *about),
            "time": instant(self.book.host.now()),
            "account": account,
            "batch_id": batch_id,
            "kind": kind,
            "subject": subject,
            "message": text,
        })  # fmt: skip

    async def _write(self, alert: Alert) -> None:
        await self.book.tables.write(lambda session: self.alerts.write(session, alert))


def _p99(totals: "Iterable[Total]") -> dict[str, float]:
    """Account -> hours within which 99 of 100 batches ended."""
    minutes: dict[str, dict[int, int]] = {}
    for total in totals:
        mine = minutes.setdefault(total.account, {})
        for minute, batches in total.durations.minutes.items():
            mine[minute] = mine.get(minute, 0) + batches
    return {account: hours for account, mine in minutes.items() if (hours := _within(mine)) is not None}


def _within(minutes: dict[int, int]) -> float | None:
    whole = sum(minutes.values())
    if whole < FEWEST:
        return None
    sum_of = 0
    for minute, batches in sorted(minutes.items()):
        sum_of += batches
        if sum_of >= whole * _SHARE:
            return minute / 60
    return None
