"""Answers of the sums that are kept in memory: exact after every ending, revision, prune and rebuild, whoever made it."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from batchmeter.host import CostQuery
from batchmeter.models import Attribution, Cost, ModelUsage, Usage
from batchmeter.spend import answers, kept, rolling
from batchmeter.spend.prune import prune
from batchmeter.spend.spend import Spend

DAY = 86_400_000
QUERIES = (CostQuery(), CostQuery(("model",)), CostQuery(("day", "account"), where={"team": None}))


async def settle(ledger, make, **fields):
    tracked = await make.record(ledger, loggers=(), **fields)
    await make.settle(ledger, tracked, loggers=())
    return tracked


def batches(found):
    return [sum(row.batches for row in rows) for rows in found]


async def test_kept_answers_are_those_of_now(ledger, open_another, make, clock):
    other, kept = await open_another(), Spend(ledger)
    noon = CostQuery(until=clock.now + 1)  # within a day

    async def check(expected, partial=None):
        for _ in range(2):
            found = await kept.rows(*QUERIES, noon)
            assert found == await Spend(other).rows(*QUERIES, noon)
            assert batches(found) == [*[expected] * 3, expected if partial is None else partial]

    await check(0)
    tracked = await settle(ledger, make)
    await check(1)
    await settle(other, make)
    await check(2)
    await make.record(other, loggers=())  # changes no sum
    await check(2)
    cost = Cost(total=Decimal("0.7"), known=Decimal("0.7"))
    batch = tracked.batch.model_copy(update={"status": "completed"})
    revised = make.settlement(tracked.account, batch, 2).model_copy(update={"cost": cost})
    assert await other.revise(revised, {}, make.ending(tracked.account, batch, 2))
    await check(2)
    assert (await kept.rows(CostQuery()))[0][0].known == Decimal("0.700738")
    clock.advance(1)
    assert await prune(other, settled_before=clock.now) == 2
    await check(2, partial=0)
    await settle(other, make, metadata={"customer": "acme"})
    await check(3, partial=0)
    await Spend(other).rebuild(["customer"])
    assert batches(await kept.rows(CostQuery(("metadata.customer",)))) == [3]


async def test_kept_answers_are_read_once_and_of_bounded_number(ledger, make, monkeypatch):
    for _ in range(2):
        await settle(ledger, make)
    read, reads = answers.answers_of_rows, []

    async def counted(how, queries):
        reads.extend(queries)
        return await read(how, queries)

    monkeypatch.setattr("batchmeter.spend.spend.answers_of_rows", counted)
    monkeypatch.setattr(answers, "MOST_ROWS", 6)
    spend = Spend(ledger)
    for _ in range(3):
        await spend.rows(*QUERIES)
    assert len(reads) == 3
    await spend.rows(CostQuery(where={"team": ["x", "y"]}), CostQuery(("team",)))
    await spend.rows(CostQuery(("team",)))
    assert len(reads) == 5
    await spend.rows(QUERIES[0])
    assert len(reads) == 6, "the oldest went"


TEAMS = st.sampled_from([None, "t1", "t2"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("settle"), TEAMS, st.booleans(), st.sampled_from(["", "x", "xy"])),
        st.tuples(st.just("revise"), st.integers(0, 20), st.decimals(0, 9, places=18)),
        st.tuples(st.sampled_from(["ask", "ask", "wait", "prune", "rebuild", "older_release"])),
    ),
    min_size=6,
    max_size=16,
)


class Days:
    """A ledger of some days under any steps, and one `Spend` that keeps sums of it meanwhile."""

    def __init__(self, ledger, other, make):
        self.ledger, self.other, self.make = ledger, other, make
        self.kept, self.first = Spend(ledger), make.clock.now // DAY
        self.settled, self.labelled = [], True

    async def settle(self, team=None, invented=False, tags=""):
        """By another process, which may also be the one that adds it to the sums."""
        owner = Attribution(team=team, tags=tuple(tags), key=f"key-{team}")
        tracked = await self.make.record(self.other, loggers=(), attribution=owner, metadata={"env": team or "none"})
        self.settled.append((tracked, invented))
        await self._outcome(tracked, Decimal(len(self.settled)).scaleb(-17), invented)

    async def _outcome(self, tracked, cost, invented, revision=1):
        batch = tracked.batch.model_copy(update={"status": "completed"})
        usage = Usage(input_tokens=revision, audio_seconds=int(cost))
        shares = {f"model-{revision % 2}": ModelUsage(lines=1, usage=usage, cost=cost)}
        outcome = {"cost": Cost(total=cost, known=cost), "usage": usage, "models": shares}
        notes = ("invented",) if invented else ()
        settlement = self.make.settlement("openai", batch, revision).model_copy(update={**outcome, "notes": notes})
        ending = self.make.ending("openai", batch, revision)
        if revision > 1:
            return await self.other.revise(settlement, {}, ending)
        claim = await self.other.claim(tracked.account, tracked.batch_id, owner="w", lease_seconds=60)
        return await self.other.settle(claim, settlement, {}, ending)

    async def revise(self, which, cost):
        if self.settled:
            tracked, invented = self.settled[which % len(self.settled)]
            await self._outcome(tracked, cost, invented, revision=len(self.settled) + which + 2)

    async def wait(self):
        self.make.clock.advance(DAY / 1000)

    async def prune(self):
        await prune(self.other, settled_before=self.ledger.now() - DAY)

    async def rebuild(self):
        """With the metadata of all that ended, then of what ends from now on."""
        self.labelled = not self.labelled
        await Spend(self.other).rebuild(["env"] if self.labelled else [])
        await Spend(self.other).label(["env"])

    async def older_release(self):
        """Its process, open since before an update, adds an ending and says not for which day."""
        await self.settle("t1")

        async def roll(session):
            last = await session.row("last_event")
            assert (await rolling.roll_block(last["seq"], session))[0] == 1
            for text in OLDER:
                await session.run(session.statement(text))

        await Spend(self.other).roll()
        await self.settle("t2")
        await self.other.database.write(roll)

    def queries(self):
        now = self.make.clock.now // DAY
        ever, lately, past = (None, None), (now - 1, now + 1), (self.first, now - 1)
        asked = [
            (ever, ("team",), {}),
            (ever, ("day", "model"), {}),
            (ever, ("month", "tag"), {"key": ["key-t1", "key-None"]}),
            (lately, ("model",), {"team": None}),
            (lately, ("week", "metadata.env"), {}),
            (lately, (), {}),
            (past, ("status",), {}),
            (past, ("key", "account"), {"metadata.env": "t1"}),
            ((None, self.first + 1), (), {}),
        ]
        return [
            CostQuery(groups, *(None if day is None else day * DAY for day in days), where)
            for days, groups, where in asked
        ]

    async def ask(self):
        for queries in (self.queries(), self.queries()[:1]):
            assert await self.kept.rows(*queries) == await Spend(self.other).rows(*queries)
        report = await self.kept.report(group_by="week,team", limit=2)
        assert report == await Spend(self.other).report(group_by="week,team", limit=2)


OLDER = (
    "DELETE FROM batchmeter.spend_touched WHERE changes = (SELECT seq FROM batchmeter.spend_mark WHERE name = 'changes')",
    "UPDATE batchmeter.spend_mark SET seq = seq - 1 WHERE name = 'noted'",
)


@pytest.fixture
async def days(ledger, open_another, make):
    await Spend(ledger).label(["env"])
    return Days(ledger, await open_another(), make)


@settings(
    max_examples=16, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
async def test_kept_sums_are_those_of_now_after_any_steps(days, steps):
    for name, *arguments in steps:
        await getattr(days, name)(*arguments)
    await days.ask()


async def test_only_days_that_change_are_read_again(days, monkeypatch):
    reads = []
    keep = days.kept._sums._keep
    monkeypatch.setattr(days.kept._sums, "_keep", lambda new: (reads.extend(new), keep(new)))
    for _ in range(3):
        await days.settle()
        await days.wait()
    await days.settle("t1")
    await days.ask()
    assert reads, "nothing was kept yet"
    reads.clear()
    for _ in range(3):
        await days.settle("t1")
        await days.ask()
    assert reads == [], "today's batches leave what is kept as it was"
    await days.revise(0, Decimal(3))
    await days.ask()
    lately = days.make.clock.now // DAY * DAY - DAY
    assert {since for _, since, *_ in reads} == {None, days.first * DAY}, "of other days they are kept still"
    assert lately in {since for _, since, *_ in days.kept._sums._bases}


async def test_sums_of_many_groups_are_not_kept(days, monkeypatch):
    monkeypatch.setattr(kept, "MOST_GROUPS", 3)
    monkeypatch.setattr(kept, "MOST_OF_ONE", 2)
    for team in ("t1", "t2", "t3", "t4"):
        await days.settle(team)
    await days.wait()
    await days.settle()
    for _ in range(2):
        await days.ask()
        assert sum(len(base.found) for base in days.kept._sums._bases.values()) <= 3


async def test_sums_that_are_begun_anew_are_read_anew(days):
    """A pruned batch's, which no ending of theirs brings back."""
    for _ in range(4):
        await days.settle("t1")
        await days.wait()
    await days.prune()
    wrong = "UPDATE batchmeter.spend_sum SET lines = lines + 1 WHERE (kind & 8) = 0"
    await days.other.database.write(lambda session: session.run(session.statement(wrong)))
    await days.ask()
    await days.rebuild()
    await days.ask()


async def test_what_is_kept_is_bounded_where_only_today_is_asked(days, monkeypatch):
    """Its sums are read anew each time: neither rows of them are kept, nor any number of long filters."""
    monkeypatch.setattr(kept, "MOST_GROUPS", 30)
    for team in ("t1", "t2", "t3"):
        await days.settle(team)
    today = days.make.clock.now // DAY * DAY
    for number in range(6):
        names = ["t1", "t2", "t3", *(f"none-{number}-{place}" for place in range(10))]
        asked = CostQuery(("team",), today, today + DAY, {"team": names})
        for _ in range(2):
            assert batches(await days.kept.rows(asked)) == [3]
            await days.settle("t4")
    bases = days.kept._sums._bases
    assert bases, "nothing was kept at all"
    assert [len(base.made or ()) for base in bases.values()] == [0] * len(bases)
    assert sum(len(names) for *_, where in bases for _, names in where) <= 30
