"""Reserve before a batch is submitted: all budgets that it counts in, in one transaction, or none and a refusal."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from batchmeter.errors import BudgetExceededError, LedgerError, QueueFullError

from .alerting import Alerts, Cause, used
from .amounts import Target, targets
from .book import Book, Budget
from .limits import Limits
from .money import usd
from .periods import Period, instant
from .queueing import NotYetError, whose_turn

if TYPE_CHECKING:
    from batchmeter.host import Estimate, PlannedBatch, TableRow, TableSession


_MOST_PERIODS = 100_000
_TRIES = 5
_NO_ROOM = ("division by zero", "NOT NULL constraint failed: budgets_period.reserved")
"""The engines' words where `take` finds no room."""

_NOTHING = {"spent": 0, "spent_atto": 0, "reserved": 0, "uncertain": 0, "batches": 0}
"""Sums of a period that nothing counts in yet."""


class Reserver:
    """State of one process."""

    def __init__(self, book: Book, alerts: Alerts) -> None:
        self._book = book
        self._alerts = alerts
        self._periods: set[tuple[str, str, Period]] = set()
        """Periods whose rows are known to be there."""
        self._limits = Limits(book)
        self._take = book.tables.grouped(self._take_all)

    async def reserve(self, planned: "PlannedBatch", estimate: "Estimate | None") -> None:
        """BudgetExceededError or QueueFullError: nothing is reserved. A submission that is asked again keeps what it has.

        A dry run only asks: it reserves nothing, and alerts nobody.
        """
        if planned.invented:
            return
        found = targets([*await self._book.live(), *await self._limits.of(planned)], planned, estimate)
        if not found:
            return
        free = planned.batch_id is not None
        now = self._book.host.now()
        for target in found:
            if target.basis == "unknown" and not target.budget.vague:
                await self._unknown(target, planned, estimate, now, free=free)
        if planned.dry_run:
            await self._refuse_if_full(planned, found, now)
            return
        await self._ensure(found, now)
        rows = await self._take_or_refuse(planned, _asks(planned, found, now, free=free), now)
        cause = Cause(planned.account, planned.provider, planned.batch_id or "", planned.attribution)
        await self._alerts.after([(target.budget, row) for target, row in zip(found, rows, strict=True)], cause)

    async def _take_or_refuse(self, planned: "PlannedBatch", asks: "Sequence[_Ask]", now: int) -> "list[TableRow]":
        """All of it, or a refusal; the sums as they are then."""
        found = [ask.target for ask in asks]
        for _ in range(_TRIES):
            await self._turns(planned, asks)
            try:
                return await self._take(asks)
            except LedgerError as error:
                if not any(words in str(error) for words in _NO_ROOM):
                    raise
                await self._refuse_if_full(planned, found, now)
        raise LedgerError("budgets: room came and went while a batch asked for it; submit again")

    async def _take_all(self, batches: "Sequence[Sequence[_Ask]]") -> "list[list[TableRow]]":
        """Reservations of submissions that come at the same time, in one transaction: its locks are taken in one order."""
        name = str(uuid.uuid4())
        asks = [ask for group in batches for ask in group]
        places: dict[tuple[str, str, int, bool], list[_Ask]] = {}
        for ask in asks:
            places.setdefault(ask.place, []).append(ask)
        order = sorted(places)
        steps: list[tuple[str, Mapping[str, object]]] = [("ask", {**ask.row, "asked": name}) for ask in asks]
        steps += [("take", _sum_of(places[place], name)) for place in order]
        answers = await self._book.tables.at_once(steps, durable=False)
        sums = {place: rows[0] for place, rows in zip(order, answers[len(asks) :], strict=True)}
        return [[sums[ask.place] for ask in group] for group in batches]

    async def _turns(self, planned: "PlannedBatch", asks: "Sequence[_Ask]") -> None:
        """QueueFullError where others wait for one of these, and were here first."""
        now = self._book.host.now()
        for target in (ask.target for ask in asks if not ask.free):
            if target.budget.settings.full == "wait" and 0 < target.amount <= target.budget.limit(now):
                try:
                    await self._book.tables.write(_turn(target, planned.id))
                except NotYetError as early:
                    text = f"{early.waiting} submissions wait for room in '{target.budget.name}' already"
                    await self._full(target, planned, text)

    async def _refuse_if_full(self, planned: "PlannedBatch", found: Sequence[Target], now: int) -> None:
        for target in found:
            row = await self._sums(target, now)
            limit = target.budget.limit(self._book.host.now())
            if target.budget.settings.mode == "enforce" and used(row) + target.amount > limit:
                await self._refuse(target, row, planned)
        await self._book.reload()  # a limit may be another by now

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
        if planned.dry_run:
            return
        note = f"let a batch through whose cost nobody can tell: {why}"
        cause = Cause(planned.account, planned.provider, planned.batch_id or "", planned.attribution)
        event = self._alerts.event(budget, row, "unreserved", 0, note, cause, now, about=planned.id)
        await self._book.tables.write(lambda session: self._alerts.write(session, event))
        await self._alerts.tell_soon()

    async def _refuse(self, target: Target, row: "TableRow", planned: "PlannedBatch") -> NoReturn:
        budget, now = target.budget, self._book.host.now()
        left = max(budget.limit(now) - used(row), 0)
        reserved = budget.text(row["reserved"] + row["uncertain"])
        if budget.tokens:
            text = f"{reserved} of {budget.text(budget.limit(now))} are enqueued in '{budget.name}'; this batch has {target.amount:,}."
            if target.amount > budget.limit(now):
                raise QueueFullError(f"{text} It will never fit: split it.", waits=False)
            await self._full(target, planned, text)
        until = "" if row["ends"] is None else f" until {instant(row['ends']):%Y-%m-%d %H:%M} UTC"
        text = (
            f"Budget '{budget.name}' has {budget.text(left)} of {budget.text(budget.limit(now))} left{until} (spent "
            f"{budget.text(row['spent'])}, reserved {reserved}); this batch may cost up to {budget.text(target.amount)}."
        )
        cause = Cause(planned.account, planned.provider, "", planned.attribution)
        event = self._alerts.event(budget, row, "refused", 0, f"refused a batch: {text}", cause, now)
        if not planned.dry_run and await self._book.tables.write(lambda session: self._alerts.write(session, event)):
            await self._alerts.tell_soon()
        raise _exceeded(budget, row, target.amount, text, now)

    async def _full(self, target: Target, planned: "PlannedBatch", text: str) -> NoReturn:
        waits = target.budget.settings.full == "wait"
        if waits and not planned.dry_run:
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
        period = target.budget.period(now)
        where = {"budget_id": target.budget.id, "bucket": target.bucket, "start": period.start}
        rows = await self._book.tables.rows("period", **where)
        return rows[0] if rows else {**where, **_NOTHING, "ends": period.end}


def _turn(target: Target, submission: str) -> "Callable[[TableSession], Awaitable[None]]":
    return lambda session: whose_turn(session, target, submission)


@dataclass(frozen=True, slots=True)
class _Ask:
    """One reservation that is about to be made."""

    target: Target
    place: tuple[str, str, int, bool]
    """Sums that it is taken from; those of batches that exist already are taken first, whatever the limit."""
    free: bool
    row: Mapping[str, object]


def _asks(planned: "PlannedBatch", found: Sequence[Target], now: int, *, free: bool) -> list[_Ask]:
    asks: list[_Ask] = []
    for one in found:
        start = one.budget.period(now).start
        enforced = one.budget.settings.mode == "enforce" and not free
        asks.append(_Ask(one, (*one.key, start, enforced), free, _row(planned, one, start, now)))
    return asks


def _sum_of(asks: Sequence[_Ask], name: str) -> dict[str, object]:
    """The step that takes all that was asked of one period."""
    budget_id, bucket, start, enforced = asks[0].place
    submissions = [ask.row["submission"] for ask in asks]
    where = {"budget_id": budget_id, "bucket": bucket, "start": start}
    return {**where, "asked": name, "enforced": int(enforced), "submissions": submissions}


def _row(planned: "PlannedBatch", target: Target, start: int, now: int) -> dict[str, Any]:
    return {
        "submission": planned.id,
        "budget_id": target.budget.id,
        "bucket": target.bucket,
        "start": start,
        "account": planned.account,
        "batch_id": planned.batch_id,
        "amount": target.amount,
        "basis": target.basis,
        "models": target.priced,
        "who": planned.attribution.key or planned.attribution.user or planned.attribution.team or "",
        "created_at": now,
    }


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
