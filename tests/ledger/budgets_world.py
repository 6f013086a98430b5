"""Budgets over a real ledger with a clock that tests turn: batches are planned, sent, recorded and settled by hand."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from batchmeter.events import BatchFailed, BatchSucceeded, Settlement, Subscription, event_id, register_event
from batchmeter.host import PlannedBatch
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Intent, Submission
from batchmeter.models import Attribution, Batch, Cost, LineCounts, ModelUsage
from batchmeter.plugins import Plugins
from batchmeter.runtime.client_host import ClientHost
from batchmeter.tracker.build_events import created_event
from batchmeter_budgets import Alert, BudgetAlert, Budgets, BudgetsSettings, register_events
from batchmeter_budgets.status import Standing, standings

MODEL = "gpt-5-mini"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Share:
    upper: Decimal | None
    expected: Decimal | None = None
    requests: int = 1
    input_tokens: int = 100
    priced_as: str = MODEL


@dataclass(frozen=True)
class Est:
    models: Mapping[str, Share]
    unknown: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        return sum(one.requests for one in self.models.values())

    @property
    def upper(self) -> Decimal | None:
        return _sum([one.upper for one in self.models.values()])

    @property
    def expected(self) -> Decimal | None:
        return _sum([one.expected for one in self.models.values()])


def _sum(costs: list[Decimal | None]) -> Decimal | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


def est(upper: str | None = "1", **shares: str | None) -> Est:
    """`est("5")`: one model; `est(gpt="1", other=None)`: several. An underscore stands for a hyphen."""
    if not shares:
        return Est({MODEL: Share(None if upper is None else Decimal(upper))})
    return Est(
        {
            name.replace("_", "-"): Share(None if cost is None else Decimal(cost), priced_as=name.replace("_", "-"))
            for name, cost in shares.items()
        }
    )


def tokens(count: int) -> Est:
    return Est({MODEL: Share(Decimal(0), input_tokens=count)})


@dataclass
class World:
    ledger: Ledger
    clock: Any
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    budgets: Budgets = field(init=False)
    plugins: Plugins = field(default_factory=Plugins)
    fed: int = 0

    async def open(self, **sections: Any) -> "World":
        """A process starts with these `[plugins.budgets]`."""
        self.settings = {**self.settings, **sections}
        self.budgets = Budgets(BudgetsSettings.model_validate(self.settings))
        register_events(register_event)
        self.plugins.register(self.budgets, "budgets")
        await self.ledger.subscribe((Subscription("log", frozenset({"budget_alert", "alert"})),))
        await self.budgets.startup(ClientHost(self.plugins, self.ledger))
        return self

    async def close(self) -> None:
        await self.budgets.shutdown()
        self.plugins.unregister("budgets")

    async def restart(self, **sections: Any) -> "World":
        await self.close()
        self.settings = {}
        return await self.open(**sections)

    def plan(
        self,
        *,
        account: str = "openai",
        model: str | None = MODEL,
        name: str | None = None,
        enqueued_tokens: Mapping[str, int] | None = None,
        **who: Any,
    ) -> PlannedBatch:
        made = PlannedBatch(account, "openai", "/v1/x", model, None, "file-1", Attribution(**who))
        return replace(made, id=name or f"sub-{next(_numbers)}", enqueued_tokens=enqueued_tokens or {})

    async def reserve(self, estimate: Est | None = None, **planned: Any) -> PlannedBatch:
        made = self.plan(**planned)
        await self.budgets.before_submit(made, est() if estimate is None else estimate)
        return made

    async def send(self, planned: PlannedBatch, **batch: Any) -> Batch:
        """The intent, the create and its record; budgets hear of it."""
        submission = Submission(
            account=planned.account, provider="openai", attribution=planned.attribution, input_file_id="file-1"
        )
        await self.ledger.open_intent(Intent(planned.id, submission))
        return await self._record(submission, planned.id, **batch)

    async def adopt(self, *, account: str = "openai", batch: Mapping[str, Any] | None = None, **who: Any) -> Batch:
        submission = Submission(account=account, provider="openai", attribution=Attribution(**who), adopted=True)
        return await self._record(submission, None, **(batch or {}))

    async def _record(self, submission: Submission, intent_id: str | None, **batch: Any) -> Batch:
        now = self.ledger.now()
        given = {
            "id": f"batch_{next(_numbers)}",
            "status": "in_progress",
            "input_file_id": "file-1",
            "created_at": now // 1000,
            **batch,
        }
        made = Batch(endpoint="/v1/x", **given)
        event = created_event(submission, made, time=now)
        await self.ledger.record_created(submission, made, event, next_poll_at=now, intent_id=intent_id)
        await self.feed()
        return made

    async def submit(self, estimate: Est | None = None, **planned: Any) -> Batch:
        return await self.send(await self.reserve(estimate, **planned))

    async def end(
        self,
        batch: Batch,
        cost: str | None = "1",
        *,
        known: str | None = None,
        status: str = "completed",
        account: str = "openai",
        models: Mapping[str, str | None] | None = None,
        feed: bool = True,
    ) -> None:
        """`cost` None: unknown, but for `known`; `models`: name -> cost."""
        outcome = _outcome(batch, status, cost, known, models)
        claim = await self.ledger.claim(account, batch.id, owner="w", lease_seconds=60)
        assert claim is not None
        now = datetime.fromtimestamp(self.ledger.now() / 1000, UTC)
        ended = batch.model_copy(update={"status": status})
        about = {"account": account, "provider": "openai", "batch_id": batch.id, "batch": ended}
        kind = BatchSucceeded if status == "completed" else BatchFailed
        event = kind(
            id=event_id(account, batch.id, kind.model_fields["type"].default),
            time=now,
            attribution=claim.tracked.submission.attribution,
            **about,
            **outcome,
        )
        await self.ledger.settle(claim, Settlement(settled_at=now, **about, **outcome), {}, event)
        if feed:
            await self.feed()

    async def revise(self, batch: Batch, cost: str | None, revision: int = 2, known: str | None = None) -> None:
        """A later revision of the ending reaches the budgets."""
        stored = [
            one.event for one in await self.events("batch_success", "batch_failure") if one.event.batch_id == batch.id
        ]
        outcome = _outcome(batch, "completed", cost, known, None)
        await self.hear(stored[-1].model_copy(update={**outcome, "revision": revision}))

    async def events(self, *kinds: str) -> list[Any]:
        return list(await self.ledger.events(types=list(kinds) or None, after=0, limit=10_000))

    async def alerts(self, *kinds: str) -> list[BudgetAlert | Alert]:
        found = [one.event for one in await self.events("budget_alert", "alert")]
        return [one for one in found if not kinds or one.kind in kinds]

    async def feed(self) -> None:
        """New events in the ledger reach the budgets, as a delivery would."""
        for stored in await self.ledger.events(after=self.fed, limit=1000):
            self.fed = stored.seq
            await self.hear(stored.event)

    async def hear(self, event: Any) -> None:
        hook = getattr(self.budgets, event.type, None)
        if hook is not None:
            await hook(event)

    async def standing(self, name: str, bucket: str | None = None) -> Standing:
        found = [
            one
            for one in await standings(self.budgets.book, await self.budgets.book.find(name))
            if bucket is None or one.bucket == bucket
        ]
        assert len(found) == 1, found
        return found[0]

    async def sums(self, name: str, bucket: str | None = None) -> tuple[Decimal, Decimal, Decimal]:
        """Spent, reserved, uncertain."""
        one = await self.standing(name, bucket)
        return one.spent, one.reserved, one.uncertain


def _outcome(
    batch: Batch, status: str, cost: str | None, known: str | None, models: Mapping[str, str | None] | None
) -> dict[str, Any]:
    total = None if cost is None else Decimal(cost)
    if models is not None:
        costs = [None if one is None else Decimal(one) for one in models.values()]
        total = _sum(costs)
        known = str(sum((one for one in costs if one is not None), Decimal(0)))
    sure = total if total is not None else Decimal(known or 0)
    shares = models if models is not None else {MODEL: cost}
    rest = "0" if models is not None else known or "0"
    return {
        "status": status,
        "request_counts": LineCounts(total=1, succeeded=1),
        "cost": Cost(total=total, known=sure, unknown={} if total is not None else {"usage_missing": 1}),
        "models": {
            name: ModelUsage(lines=1, cost=None if one is None else Decimal(one), known=Decimal(one or rest))
            for name, one in shares.items()
        },
    }
