"""Looks after what no event tells: reservations that a crash left, costs unknown for a day, and sums that are checked."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from .alerting import Alerts, Cause
from .book import Book, Budget
from .forecast import days_left, projection
from .money import NANO
from .periods import instant
from .reserve import Reserver
from .settle import Settler
from .watching import HOUR, Watch

if TYPE_CHECKING:
    from batchmeter.events import AnyEvent, BatchCreated, BatchFailed, BatchSucceeded
    from batchmeter.host import TableRow, TableSession

ABSENT = 120_000
"""Milliseconds; core sends nothing later than half of that after the reservation."""
CLOSED = 900_000
"""A create that waits for room is closed between two tries: they are nearer to each other than this."""
UNCERTAIN = 86_400_000
LONGEST_OPEN = 15 * 86_400_000
"""No vendor keeps a batch open for longer."""
PAGE = 500
ENDINGS = ("batch_success", "batch_failure")


@dataclass(frozen=True, slots=True)
class Wrong:
    """A period whose sums are not those of its reservations."""

    budget: str
    bucket: str
    start: int
    found: Mapping[str, int]
    wanted: Mapping[str, int]


@dataclass(slots=True)
class Upkeep:
    """Any number of processes may look at once: all that it does is done once."""

    book: Book
    alerts: Alerts
    reserver: Reserver
    settler: Settler
    watch: Watch
    _projected_at: int = -HOUR

    async def look(self) -> None:
        await self.sweep()
        await self.count_past()
        await self.judge()
        await self.tell_uncertain()
        await self.tell_projected()
        await self.watch.look()
        await self.alerts.tell()

    async def sweep(self) -> int:
        """Give back what was reserved for submissions that came to nothing; returns how many."""
        now = self.book.host.now()
        rows = await self.book.tables.rows("loose", before=now - ABSENT, limit=PAGE)
        touched = {row["submission"]: row["touched_at"] for row in rows}
        if not touched:
            return 0
        states = await self.book.host.submissions(list(touched))
        released = 0
        for submission, at in touched.items():
            state = states.get(submission)
            if state is None:
                released += await self.reserver.release(submission, "never sent: its process ended before")
            elif state.state == "closed" and at < now - CLOSED:
                released += await self.reserver.release(submission, "no batch came of it")
            elif state.state == "created" and state.batch_id is not None:
                where = {"submission": submission, "account": state.account, "batch_id": state.batch_id}
                await self.book.tables.run("bind", **where)
        return released

    async def count_past(self) -> None:
        """Batches that were there when a budget was made: its period's endings, and with `adopt_open` what is open."""
        fresh = [one for one in await self.book.live() if not one.counted]
        if not fresh:
            return
        await self.count_endings(min(one.active_from for one in fresh))
        for budget in fresh:
            if budget.settings.adopt_open:
                await self._adopt_open(budget)
            await self.book.tables.run("budget_counted", id=budget.id)
        await self.book.reload()

    async def _adopt_open(self, budget: Budget) -> None:
        """Batches that were open when the budget was made: each takes what its input may cost."""
        since = budget.created_at - LONGEST_OPEN
        ended = {(one.account, one.batch_id) async for one in self._events(ENDINGS, since)}
        async for event in self._events(("acreate_batch",), since):
            made = cast("BatchCreated", event)
            young = made.time.timestamp() * 1000 >= budget.created_at
            if not young and (made.account, made.batch_id) not in ended:
                source = made.batch.input_file_id
                estimate = await self.book.host.estimate(made.account, source) if source else None
                await self.settler.reserve_open(budget, made, estimate)

    async def _events(self, kinds: Sequence[str], since: int) -> "AsyncIterator[AnyEvent]":
        after = 0
        while page := await self.book.host.events(after, kinds=kinds, since=since, limit=PAGE):
            for stored in page:
                yield stored.event
            after = page[-1].seq

    async def count_endings(self, since: int) -> int:
        """Count what ended from then on and is not counted; what is, stays as it is. Returns how many were looked at."""
        looked = 0
        async for event in self._events(ENDINGS, since):
            await self.settler.ended(cast("BatchSucceeded | BatchFailed", event))
            looked += 1
        return looked

    async def judge(self) -> None:
        """Crossings that a process could not write down any more."""
        now = self.book.host.now()
        for budget in await self.book.live():
            lowest = min((100, *budget.settings.alerts))
            where = {"since": budget.period(now).start, "least": max(budget.limit(now) * lowest // 100, 1)}
            rows = await self.book.tables.rows("periods", budget_id=budget.id, **where)
            await self.alerts.after([(budget, row) for row in rows], Cause(), settled=True)

    async def tell_uncertain(self) -> None:
        rows = await self.book.tables.rows("old_uncertain", before=self.book.host.now() - UNCERTAIN, limit=PAGE)
        for row in rows:
            budget = self.book.get(row["budget_id"])
            if budget is not None and row["uncertain"]:
                await self._about(budget, row)

    async def tell_projected(self) -> None:
        """Once a day for each bucket, while the period lasts; looked for once an hour."""
        now = self.book.host.now()
        if 0 <= now - self._projected_at < HOUR:
            return
        self._projected_at = now
        for budget in await self.book.live():
            period = budget.period(now)
            if budget.tokens or period.end is None:
                continue
            # Were each day to come as costly as all until now together, the others would still end below their limit.
            least = budget.limit(now) // (1 + days_left(period, now))
            fullest = {"since": period.start, "least": max(least, 1)}
            for row in await self.book.tables.rows("periods", budget_id=budget.id, **fullest):
                where = {"budget_id": budget.id, "bucket": row["bucket"], "start": row["start"]}
                days = await self.book.tables.rows("days", **where)
                likely = projection(period, now, {day["day"]: day["spent"] + day["held"] for day in days})
                if likely is not None and likely > budget.limit(now):
                    await self._project(budget, row, likely, now)

    async def check(self, *, repair: bool = False) -> list[Wrong]:
        """Compare every sum with the reservations behind it; `repair` puts them right."""

        async def work(session: "TableSession") -> list[Wrong]:
            if repair:
                await session.rows("lock_periods")
            rows = await session.rows("sums")
            wrong = [found for row in rows if (found := self._compared(row)) is not None]
            if repair:
                await session.each("correct", [_corrected(one, rows) for one in wrong])
            return wrong

        await self.book.reload()
        return await (self.book.tables.write(work) if repair else self.book.tables.read(work))

    def _compared(self, row: "TableRow") -> Wrong | None:
        spent = row["known"] * NANO + row["known_atto"]
        wanted = {
            "reserved": row["open_amount"],
            "uncertain": row["uncertain_amount"],
            "spent": spent // NANO,
            "spent_atto": spent % NANO,
            "batches": row["counted"],
        }
        found = {name: row[name] for name in wanted}
        budget = self.book.get(row["budget_id"])
        if found == wanted:
            return None
        return Wrong(budget.name if budget else row["budget_id"], row["bucket"], row["start"], found, wanted)

    async def _about(self, budget: Budget, row: "TableRow") -> None:
        """An uncertain cost that nothing has settled for a day."""
        where = {name: row[name] for name in ("budget_id", "bucket", "start")}
        cause = Cause(row["account"], "", row["batch_id"] or "")
        text = (
            f"holds {budget.text(row['uncertain'])} for batch {row['batch_id']}, whose cost has been unknown for a day"
        )

        async def work(session: "TableSession") -> bool:
            sums = await session.row("period", **where)
            assert sums is not None
            about = row["submission"]
            event = self.alerts.event(budget, sums, "uncertain", 0, text, cause, session.now, about=about)
            return await self.alerts.write(session, event)

        await self.book.tables.write(work)

    async def _project(self, budget: Budget, row: "TableRow", likely: int, now: int) -> None:
        projected: Decimal = budget.amount(likely)
        text = (
            f"will have taken about {budget.text(likely)} of {budget.text(budget.limit(now))} by the end of its period"
        )
        day = f"{instant(now):%Y-%m-%d}"
        event = self.alerts.event(budget, row, "projected", 0, text, Cause(), now, about=day, projected=projected)
        await self.book.tables.write(lambda session: self.alerts.write(session, event))


def _corrected(one: Wrong, rows: Any) -> dict[str, Any]:
    row = next(each for each in rows if (each["bucket"], each["start"]) == (one.bucket, one.start) and _same(one, each))
    where = {name: row[name] for name in ("budget_id", "bucket", "start", "open_amount", "uncertain_amount", "counted")}
    return where | {"spent": one.wanted["spent"], "spent_atto": one.wanted["spent_atto"]}


def _same(one: Wrong, row: "TableRow") -> bool:
    return {name: row[name] for name in one.found} == dict(one.found)
