"""Reserve before a batch is submitted: all budgets that it counts in, in one transaction, or none and a refusal."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from batchmeter.errors import BudgetExceededError, QueueFullError

from .alerting import Alerts, Cause, used
from .amounts import Target, targets
from .book import Book, Budget
from .money import usd
from .periods import Period, instant
from .queueing import NotYetError, whose_turn

if TYPE_CHECKING:
    from batchmeter.host import Estimate, PlannedBatch, TableRow, TableSession


_MOST_PERIODS = 100_000


class _NoRoomError(Exception):
    """Undoes the transaction."""

    def __init__(self, target: Target, row: "TableRow") -> None:
        super().__init__()
        self.target = target
        self.row = row


class Reserver:
    """State of one process."""

    def __init__(self, book: Book, alerts: Alerts) -> None:
        self._book = book
        self._alerts = alerts
        self._periods: set[tuple[str, str, Period]] = set()
        """Those whose rows are known to be there."""

    async def reserve(self, planned: "PlannedBatch", estimate: "Estimate | None") -> None:
        """BudgetExceededError or QueueFullError: nothing is reserved. A submission that is asked again keeps what it has."""
        if planned.invented:
            return
        found = targets(await self._book.live(), planned, estimate)
        if not found:
            return
        free = planned.batch_id is not None
        now = self._book.host.now()
        for target in found:
            if target.basis == "unknown":
                await self._unknown(target, planned, estimate, now, free=free)
        await self._ensure(found, now)
        try:
            news = await self._book.tables.write(
                lambda session: self._take(session, planned, found, now, free), durable=False
            )
        except NotYetError as early:
            text = f"{early.waiting} submissions wait for room in '{early.target.budget.name}' already"
            await self._full(early.target, planned, text)
        except _NoRoomError as refused:
            await self._refuse(refused, planned)
        else:
            if news:
                await self._alerts.tell_soon()

    async def release(self, submission: str, reason: str) -> bool:
        """No batch came of it: everything is free again. False where nothing was reserved, or a batch is known."""

        async def work(session: "TableSession") -> bool:
            rows = [row for row in await session.rows("of_submission", submission=submission) if row["state"] == "open"]
            if not rows or any(row["batch_id"] is not None for row in rows):
                return False
            await session.each("touch", [{**_key(row), "state": "released", "reason": reason[:300]} for row in rows])
            await session.each("move", [moved(row, reserved=-row["amount"], batches=-1) for row in rows])
            return True

        return await self._book.tables.write(work)

    async def _take(
        self, session: "TableSession", planned: "PlannedBatch", found: Sequence[Target], now: int, free: bool
    ) -> bool:
        """Rows first and sums last: a sum that many take from is locked for the shortest time."""
        periods = {target.key: target.budget.period(now) for target in found}
        added = await session.each("add_reservation", [_row(planned, one, periods[one.key], now) for one in found])
        new = {(row["budget_id"], row["bucket"]) for row in added}
        again = [] if len(new) == len(found) else await self._again(session, planned.id)
        wanted = [one for one in found if one.key in new or one.key in again]
        for target in wanted:
            if target.budget.settings.full == "wait" and not free:
                await whose_turn(session, target, planned.id)
        return await self._add_up(session, wanted, periods, planned, free)

    async def _again(self, session: "TableSession", submission: str) -> list[tuple[str, str]]:
        """Those that were released meanwhile have to be taken once more; the others are only kept alive."""
        rows = await session.rows("of_submission", submission=submission)
        known = [
            {**_key(row), "state": "open" if row["state"] == "released" else row["state"], "reason": None}
            for row in rows
        ]
        await session.each("touch", known)
        return [(row["budget_id"], row["bucket"]) for row in rows if row["state"] == "released"]

    async def _add_up(
        self,
        session: "TableSession",
        wanted: Sequence[Target],
        periods: dict[tuple[str, str], Period],
        planned: "PlannedBatch",
        free: bool,
    ) -> bool:
        items = {one.key: _item(one, periods[one.key], free=free) for one in wanted}
        taken = {(row["budget_id"], row["bucket"]): row for row in await session.each("reserve", list(items.values()))}
        for target in wanted:
            if target.key not in taken:
                row = await session.row("period", **_place(items[target.key]))
                assert row is not None
                raise _NoRoomError(target, row)
        cause = Cause(planned.account, planned.provider, planned.batch_id or "", planned.attribution)
        news = False
        for target in wanted:
            news |= await self._alerts.judge(session, target.budget, taken[target.key], cause, settled=False)
        return news

    async def _unknown(
        self, target: Target, planned: "PlannedBatch", estimate: "Estimate | None", now: int, *, free: bool
    ) -> None:
        """Refuse what nobody can tell the cost of, or say that it is let through."""
        budget = target.budget
        why = "; ".join(target.reasons[:3]) or "nobody can tell its cost"
        row = await self._sums(target, now)
        if budget.settings.mode == "enforce" and budget.settings.unknown == "refuse" and not free:
            code = "input_file_not_checked" if estimate is None else "cost_unknown"
            hint = (
                "upload the file again, through batchmeter with budgets on"
                if estimate is None
                else "give every request a limit of output tokens, or set on_unknown"
            )
            text = f"Budget '{budget.name}' cannot tell what this batch may cost ({why}): {hint}."
            raise _exceeded(budget, row, None, text, now, code=code)
        said = f"let a batch through whose cost nobody can tell: {why}"
        cause = Cause(planned.account, planned.provider, planned.batch_id or "", planned.attribution)
        event = self._alerts.event(budget, row, "unreserved", 0, said, cause, now, about=planned.id)
        await self._book.tables.write(lambda session: self._alerts.write(session, event))
        await self._alerts.tell_soon()

    async def _refuse(self, refused: _NoRoomError, planned: "PlannedBatch") -> None:
        target, row, now = refused.target, refused.row, self._book.host.now()
        budget = target.budget
        left = max(budget.limit(now) - used(row), 0)
        taken = budget.text(row["reserved"] + row["uncertain"])
        if budget.tokens:
            text = f"{taken} of {budget.text(budget.limit(now))} are enqueued in '{budget.name}'; this batch has {target.amount:,}."
            await self._full(target, planned, text)
        until = "" if row["ends"] is None else f" until {instant(row['ends']):%Y-%m-%d %H:%M} UTC"
        text = (
            f"Budget '{budget.name}' has {budget.text(left)} of {budget.text(budget.limit(now))} left{until} (spent "
            f"{budget.text(row['spent'])}, reserved {taken}); this batch may cost up to {budget.text(target.amount)}."
        )
        cause = Cause(planned.account, planned.provider, "", planned.attribution)
        event = self._alerts.event(budget, row, "refused", 0, f"refused a batch: {text}", cause, now)
        if await self._book.tables.write(lambda session: self._alerts.write(session, event)):
            await self._alerts.tell_soon()
        raise _exceeded(budget, row, target.amount, text, now)

    async def _full(self, target: Target, planned: "PlannedBatch", text: str) -> NoReturn:
        waits = target.budget.settings.full == "wait"
        if waits:
            waiter = {"submission": planned.id, "who": planned.attribution.key or ""}
            await self._book.tables.run("wait", budget_id=target.budget.id, bucket=target.bucket, **waiter)
        raise QueueFullError(text, waits=waits)

    async def _ensure(self, found: Sequence[Target], now: int) -> None:
        """Their periods' rows, committed before any is taken from: so all are locked in one order, and none is awaited."""
        places = [(*target.key, target.budget.period(now)) for target in found]
        new = [place for place in places if place not in self._periods]
        if not new:
            return
        items = [{"budget_id": one, "bucket": bucket, "start": at.start, "ends": at.end} for one, bucket, at in new]
        await self._book.tables.write(lambda session: session.each("add_period", items), durable=False)
        if len(self._periods) > _MOST_PERIODS:
            self._periods.clear()
        self._periods.update(new)

    async def _sums(self, target: Target, now: int) -> "TableRow":
        await self._ensure([target], now)
        item = _item(target, target.budget.period(now), free=True)
        (row,) = await self._book.tables.rows("period", **_place(item))
        return row


def _row(planned: "PlannedBatch", target: Target, period: Period, now: int) -> dict[str, Any]:
    return {
        "submission": planned.id,
        "budget_id": target.budget.id,
        "bucket": target.bucket,
        "start": period.start,
        "account": planned.account,
        "batch_id": planned.batch_id,
        "amount": target.amount,
        "basis": target.basis,
        "models": None if target.models is None else "\n".join(sorted(target.models)),
        "state": "open",
        "known": 0,
        "known_atto": 0,
        "uncertain": 0,
        "revision": 0,
        "who": planned.attribution.key or planned.attribution.user or planned.attribution.team or "",
        "created_at": now,
    }


def _item(target: Target, period: Period, *, free: bool) -> dict[str, Any]:
    enforced = target.budget.settings.mode == "enforce" and not free
    return {
        "budget_id": target.budget.id,
        "bucket": target.bucket,
        "start": period.start,
        "amount": target.amount,
        "enforced": int(enforced),
    }


def _place(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("budget_id", "bucket", "start")}


def _key(row: "TableRow") -> dict[str, Any]:
    return {name: row[name] for name in ("submission", "budget_id", "bucket")}


def moved(
    row: "TableRow | Mapping[str, Any]",
    *,
    reserved: int = 0,
    uncertain: int = 0,
    spent: tuple[int, int] = (0, 0),
    batches: int = 0,
) -> dict[str, Any]:
    """The change of one period's sums."""
    where = {name: row[name] for name in ("budget_id", "bucket", "start")}
    sums = {"reserved": reserved, "uncertain": uncertain, "spent": spent[0], "spent_atto": spent[1], "batches": batches}
    return where | sums


def _exceeded(
    budget: Budget, row: "TableRow", amount: int | None, text: str, now: int, *, code: str = "budget_exceeded"
) -> BudgetExceededError:
    ends: int | None = row["ends"]
    until: datetime | None = None if ends is None else instant(ends)
    return BudgetExceededError(
        text,
        budget=budget.name,
        limit=budget.amount(budget.limit(now)),
        spent=budget.amount(row["spent"], row["spent_atto"]),
        reserved=budget.amount(row["reserved"] + row["uncertain"]),
        amount=None if amount is None else usd(amount),
        until=until,
        code=code,
        retry_after=None if ends is None else max(1, -(-(ends - now) // 1000)),
    )
