"""The promise of an enforced budget: spent, reserved and uncertain together never pass its limit, at no commit."""

import asyncio
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.warm_python import WARM

from batchmeter.errors import BudgetExceededError
from batchmeter.ledger import open_ledger

from .budgets_world import World, est

LIMIT = "20"
WORKER = Path(__file__).with_name("budgets_worker.py")
CHECK = {
    "postgres": (
        "ALTER TABLE batchmeter.budgets_period ADD CHECK (spent + CASE WHEN spent_atto > 0 THEN 1 ELSE 0 END + reserved"
        " + uncertain <= CASE bucket WHEN '' THEN 20000000000 ELSE 6000000000 END AND reserved >= 0 AND uncertain >= 0)"
    ),
    "sqlite": (
        "CREATE TRIGGER budgets_promise AFTER UPDATE ON budgets_period WHEN new.spent + (new.spent_atto > 0) + new.reserved"
        " + new.uncertain > CASE new.bucket WHEN '' THEN 20000000000 ELSE 6000000000 END OR new.reserved < 0"
        " OR new.uncertain < 0 BEGIN SELECT RAISE(ABORT, 'a budget is exceeded'); END"
    ),
}
"""The database itself looks at every change."""


class Clock:
    now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


STEP = st.tuples(
    st.sampled_from(["reserve", "drop", "send", "end", "end_unknown", "revise", "repeat", "sweep"]),
    st.integers(0, 7),
    st.decimals("0", "6", places=12),
    st.decimals("0", "1", places=3),
)


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(steps=st.lists(STEP, min_size=5, max_size=25))
def test_no_order_of_things_breaks_a_limit_or_a_sum(steps) -> None:
    asyncio.run(play(steps))


async def play(steps) -> None:
    clock = Clock()
    ledger = open_ledger(":memory:", clock=clock)
    await ledger.open()
    model = Model(await World(ledger, clock).open(b={"limit": "10", "reserve": "upper", "period": "total"}))
    try:
        for name, place, amount, part in steps:
            await getattr(model, name)(place, amount, part)
            await model.compare()
    finally:
        await model.world.close()
        await ledger.aclose()


@dataclass
class Model:
    """The sums as they have to be, beside the real ones."""

    world: World
    reserved: dict = field(default_factory=dict)
    sent: dict = field(default_factory=dict)
    ended: dict = field(default_factory=dict)

    async def reserve(self, _place, amount, _part) -> None:
        try:
            planned = await self.world.reserve(est(str(amount)))
        except BudgetExceededError:
            assert sum(await self.world.sums("b")) + amount > Decimal(10) - Decimal("1e-9")
        else:
            self.reserved[planned.id] = planned, amount

    async def drop(self, place, _amount, _part) -> None:
        if self.reserved:
            planned, _ = self.reserved.pop(_at(self.reserved, place))
            await self.world.budgets.submit_dropped(planned, "refused")

    async def send(self, place, _amount, _part) -> None:
        if self.reserved:
            planned, amount = self.reserved.pop(_at(self.reserved, place))
            self.sent[planned.id] = await self.world.send(planned), amount

    async def end(self, place, _amount, part, *, known=True) -> None:
        if self.sent:
            key = _at(self.sent, place)
            batch, amount = self.sent.pop(key)
            cost = str(amount * part)
            await self.world.end(batch, cost if known else None, known=cost)
            self.ended[key] = [batch, amount, amount * part, known, 1]

    async def end_unknown(self, place, amount, part) -> None:
        await self.end(place, amount, part, known=False)

    async def revise(self, place, _amount, part) -> None:
        if self.ended:
            one = self.ended[_at(self.ended, place)]
            one[2:] = [one[1] * part, not one[3], one[4] + 1]
            await self.world.revise(one[0], str(one[2]) if one[3] else None, revision=one[4], known=str(one[2]))

    async def repeat(self, _place, _amount, _part) -> None:
        for stored in (await self.world.events())[-2:]:
            await self.world.hear(stored.event)

    async def sweep(self, _place, _amount, _part) -> None:
        self.world.clock.advance(121)
        await self.world.budgets.upkeep.sweep()
        self.reserved.clear()

    async def compare(self) -> None:
        spent, held, uncertain = await self.world.sums("b")
        open_ones = [amount for _, amount in (*self.reserved.values(), *self.sent.values())]
        assert spent == sum((one[2] for one in self.ended.values()), Decimal(0))
        assert _near(held, open_ones)
        assert _near(uncertain, [one[1] - one[2] for one in self.ended.values() if not one[3]])
        assert spent + held + uncertain <= 10
        assert await self.world.budgets.upkeep.check() == []


def _near(found, amounts) -> bool:
    """Each held amount is rounded to a billionth of a dollar."""
    return abs(found - sum(amounts, Decimal(0))) <= len(amounts) * Decimal("1e-9")


def _at(found, place):
    return list(found)[place % len(found)]


async def test_eight_processes_and_kill_9_break_no_limit(url, request):
    ledger = open_ledger(url)
    await ledger.open()
    world = await World(ledger, None).open(
        shared={"limit": LIMIT, "reserve": "upper", "period": "total"}, each={"limit": "6", "scope": {"team": "*"}}
    )
    statement = CHECK["postgres" if "postgres" in url else "sqlite"]
    await ledger.database.write(lambda session: session.run(session.statement(statement)))
    said = await asyncio.to_thread(killed, url)
    assert [one for one in said if one[0] not in (0, -9)] == []
    assert any(code == -9 for code, _ in said)
    await world.budgets.book.reload()
    assert await world.budgets.upkeep.check() == []
    await world.budgets.upkeep.count_endings(0)
    await world.feed()
    assert await world.budgets.upkeep.check() == []
    spent, reserved, uncertain = await world.sums("shared")
    assert 0 < spent + reserved + uncertain <= Decimal(LIMIT)
    rows = await world.budgets.book.tables.rows(
        "reservations", budget_id=(await world.standing("shared")).budget.id, limit=999
    )
    ended = {one.event.batch_id for one in await world.events("batch_success", "batch_failure")}
    settled = {row["batch_id"] for row in rows if row["state"] in ("settled", "uncertain")}
    assert settled == ended, "each ending is counted, and nothing else"
    await world.close()
    await ledger.aclose()


def kill(process: "subprocess.Popen[str]", rounds: int) -> None:
    """Somewhere in its work: after so many rounds of it."""
    assert process.stdout is not None
    for _ in range(rounds):
        process.stdout.readline()
    process.kill()


def killed(url: str) -> list[tuple[int, str]]:
    """Eight workers, half of them killed in the middle of their work: return codes, and what they complained of."""
    chance = random.Random(7)
    command = [WARM, str(WORKER), url]
    processes = [
        subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for seed in range(8)
    ]
    rounds = {process: chance.randrange(1, 6) for process in processes[::2]}
    with ThreadPoolExecutor() as pool:  # each by its own thread: forks are quick, and would be done
        list(pool.map(lambda process: kill(process, rounds[process]), rounds))
    return [
        (process.returncode, process.communicate(timeout=90)[1])
        for process in processes
        if process.wait(90) is not None
    ]
