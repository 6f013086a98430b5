"""Settle when a batch ends: its cost is counted and its reservation given back in one transaction, once a revision.

What stays unknown of a cost stays reserved, as uncertain. A batch that nobody reserved for counts all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from batchmeter.host import PlannedBatch

from .alerting import Alerts, Cause, cause_of, unknown_cost
from .amounts import Target, targets
from .book import Book, Budget
from .money import nano_up, split, usd
from .reserve import moved
from .scopes import Subject, matches

if TYPE_CHECKING:
    from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
    from batchmeter.host import Estimate, TableRow, TableSession


@dataclass(frozen=True, slots=True)
class Share:
    """A batch's cost to a budget."""

    known: Decimal
    complete: bool


class Settler:
    """State of one process."""

    def __init__(self, book: Book, alerts: Alerts, told_from: Decimal | None = None) -> None:
        self._book = book
        self._alerts = alerts
        self._told_from = told_from
        """US dollars that an ended batch may still cost, from which there is an alert."""

    async def created(self, event: "BatchCreated") -> None:
        """The batch of a submission is known. What was given back too early, as after a long pause, is taken again."""
        submission = await self._book.host.submission_of(event.account, event.batch_id)
        if submission is not None:
            await self._book.tables.write(
                lambda session: self._bind(session, submission, event.account, event.batch_id)
            )

    async def ended(self, event: "BatchSucceeded | BatchFailed") -> None:
        submission = await self._book.host.submission_of(event.account, event.batch_id)
        live = await self._book.live()

        async def work(session: "TableSession") -> bool:
            if submission is not None:
                await self._bind(session, submission, event.account, event.batch_id)
            rows = await session.rows("of_batch", account=event.account, batch_id=event.batch_id)
            changes = [self._change(row, event) for row in rows if row["revision"] < event.revision]
            changes += await self._unreserved(session, event, live, {(row["budget_id"], row["bucket"]) for row in rows})
            return await self._apply(session, changes, cause_of(event))

        try:
            news = await self._book.tables.write(work)
        except _NewBudgetError:
            await self._book.reload()
            news = await self._book.tables.write(work)
        if news:
            await self._alerts.tell()

    async def reserve_open(self, budget: Budget, event: "BatchCreated", estimate: "Estimate | None") -> None:
        """`adopt_open`: a batch that is open takes its place in a budget that was made after it."""
        submission = f"{event.account}\x1f{event.batch_id}"
        planned = PlannedBatch(
            event.account, event.provider, event.endpoint, event.batch.model, event.region, None, event.attribution
        )

        async def work(session: "TableSession") -> None:
            for target in targets([budget], planned, estimate):
                row = _new_row(event, budget, target, budget.period(created_at(event)).start, submission)
                if await session.each("add_reservation", [row]):
                    await _ensure(session, budget, row)
                    await session.each("move", [moved(row, reserved=target.amount, batches=1)])

        await self._book.tables.write(work)

    async def write_off(self, batch_id: str, reason: str, account: str | None = None) -> int:
        """Give up what is uncertain of a batch; returns in how many buckets. The rows stay, with the reason."""

        async def work(session: "TableSession") -> int:
            rows = await session.rows("of_batch", batch_id=batch_id, account=account)
            found = [row for row in rows if row["state"] == "uncertain"]
            await session.each("write_off", [{**_key(row), "reason": reason} for row in found])
            await session.each("move", [moved(row, uncertain=-row["uncertain"]) for row in found])
            return len(found)

        return await self._book.tables.write(work)

    async def _bind(self, session: "TableSession", submission: str, account: str, batch_id: str) -> None:
        bound = await session.run("bind", submission=submission, account=account, batch_id=batch_id)
        if not bound:
            return
        rows = [row for row in await session.rows("of_submission", submission=submission) if row["state"] == "released"]
        if rows:
            await session.each("touch", [{**_key(row), "state": "open", "reason": None} for row in rows])
            await session.each("move", [moved(row, reserved=row["amount"], batches=1) for row in rows])

    def _change(self, row: "TableRow", event: "BatchSucceeded | BatchFailed") -> "_Change":
        budget = self._book.get(row["budget_id"])
        if budget is None:
            raise _NewBudgetError
        share = share_of(budget, row["bucket"], event, self._book.host.base_model)
        return _changed(budget, row, share, event.revision)

    async def _unreserved(
        self,
        session: "TableSession",
        event: "BatchSucceeded | BatchFailed",
        live: Sequence[Budget],
        known: set[tuple[str, str]],
    ) -> list["_Change"]:
        """Budgets that the batch counts in and that nothing was reserved in: adopted batches, or models known only now."""
        found: list[_Change] = []
        if event.invented:
            return found
        created = created_at(event)
        for budget in live:
            if budget.tokens or created < budget.active_from:
                continue
            for match in matches(budget.settings.scope, _subject(event, self._book.host.base_model)):
                if (budget.id, match.bucket) in known:
                    continue
                target = Target(budget, match.bucket, match.models, 0, "none")
                row = _new_row(
                    event, budget, target, budget.period(created).start, f"{event.account}\x1f{event.batch_id}"
                )
                if await session.each("add_reservation", [row]):
                    await _ensure(session, budget, row)
                    share = share_of(budget, match.bucket, event, self._book.host.base_model)
                    found.append(_changed(budget, row, share, event.revision, batches=1))
        return found

    async def _apply(self, session: "TableSession", changes: Sequence["_Change"], cause: Cause) -> bool:
        """In the order of budgets, as reservations are taken."""
        if not changes:
            return False
        ordered = sorted(changes, key=lambda one: (one.move["budget_id"], one.move["bucket"], one.move["start"]))
        await session.each("settle", [one.row for one in ordered])
        sums = await session.each("move", [one.move for one in ordered])
        budgets = {one.budget.id: one.budget for one in ordered}
        news = False
        for row in sums:
            news |= await self._alerts.judge(session, budgets[row["budget_id"]], row, cause, settled=True)
        most = max((one.row["uncertain"] for one in ordered), default=0)
        if self._told_from is not None and usd(most) > self._told_from:
            news |= await self._alerts.write(session, unknown_cost(cause, usd(most), session.now))
        return news


class _NewBudgetError(Exception):
    """Undoes the transaction: a reservation is of a budget that this process has not read yet."""


@dataclass(frozen=True, slots=True)
class _Change:
    budget: Budget
    row: dict[str, Any]
    move: dict[str, Any]


def _changed(budget: Budget, row: Any, share: Share, revision: int, *, batches: int = 0) -> _Change:
    """A reservation's new state, and its effect on the sums of its period."""
    known = (0, 0) if budget.tokens else split(share.known)
    uncertain = 0
    if not share.complete and not budget.tokens and row["state"] != "written_off":
        uncertain = max(row["amount"] - nano_up(share.known), 0)
    state = "written_off" if row["state"] == "written_off" else "settled" if share.complete else "uncertain"
    more = split(share.known - _known(row)) if not budget.tokens else (0, 0)
    reserved = -row["amount"] if row["state"] == "open" else 0
    settled = {"state": state, "known": known[0], "known_atto": known[1], "uncertain": uncertain, "revision": revision}
    move = moved(row, reserved=reserved, uncertain=uncertain - row["uncertain"], spent=more, batches=batches)
    return _Change(budget, _key(row) | settled, move)


def _known(row: Any) -> Decimal:
    return (Decimal(row["known"]) + Decimal(row["known_atto"]).scaleb(-9)).scaleb(-9)


def share_of(budget: Budget, bucket: str, event: "BatchSucceeded | BatchFailed", base_model: Any) -> Share:
    """All of the batch, or its models' part. An invented cost is nobody's."""
    if event.invented:
        return Share(Decimal(0), complete=True)
    if "model" not in budget.settings.scope:
        return Share(event.cost.known, event.cost.total is not None)
    chosen = next(
        (one for one in matches(budget.settings.scope, _subject(event, base_model)) if one.bucket == bucket), None
    )
    named = [event.models[name] for name in (chosen.models or ())] if chosen is not None else []
    known = sum((one.known for one in named), Decimal(0))
    complete = all(one.cost is not None for one in named)
    # Without a line that names its model nobody knows whose share is missing.
    nameless = not named and event.cost.total is None
    return Share(known, complete and not nameless)


def created_at(event: "BatchCreated | BatchSucceeded | BatchFailed") -> int:
    """Epoch milliseconds."""
    made = event.batch.created_at
    return int(event.time.timestamp() * 1000) if made is None else int(made) * 1000


def _subject(event: "BatchSucceeded | BatchFailed", base_model: Any) -> Subject:
    models = {name: base_model(event.provider, name) for name in event.models}
    return Subject(event.account, event.provider, event.attribution, models)


def _new_row(event: Any, budget: Budget, target: Target, start: int, submission: str) -> dict[str, Any]:
    who = event.attribution
    return {
        "submission": submission,
        "budget_id": budget.id,
        "bucket": target.bucket,
        "start": start,
        "account": event.account,
        "batch_id": event.batch_id,
        "amount": target.amount,
        "basis": target.basis,
        "models": target.priced,
        "state": "open",
        "known": 0,
        "known_atto": 0,
        "uncertain": 0,
        "revision": 0,
        "who": who.key or who.user or who.team or "",
        "created_at": created_at(event),
    }


async def _ensure(session: "TableSession", budget: Budget, row: Mapping[str, Any]) -> None:
    """Its period's row."""
    where = {name: row[name] for name in ("budget_id", "bucket", "start")}
    await session.run("add_period", **where, ends=budget.period(row["created_at"]).end)


def _key(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in ("submission", "budget_id", "bucket")}
