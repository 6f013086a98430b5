"""Sums of what batches cost: each ending once, to the last digit, on either engine."""

import asyncio
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Context, Decimal
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchmeter.cli.ledger_check import check
from batchmeter.host import CostQuery
from batchmeter.models import Attribution, Cost, LineCounts, ModelUsage, Usage
from batchmeter.spend import check as spend_check
from batchmeter.spend import rolling
from batchmeter.spend.figures import COLUMNS, UNITS, Kind, joined_usd, labels_of, split_usd
from batchmeter.spend.prune import prune, prune_batches
from batchmeter.spend.spend import Spend

EXACT = Context(prec=80)
EVER = 2**31 - 1
HALF_DAY = 43_200


async def rows(ledger, kind=None):
    """(kind, period, group) -> figures, of every row or one kind of them."""

    async def read(session):
        kinds = range(16) if kind is None else [int(kind)]
        return {
            (Kind(number), period, group): dict(figures)
            for number in kinds
            async for page in rolling.stored_rows(session, Kind(number), 0, EVER)
            for (_, period, group), figures in page.sums.items()
            if figures
        }

    return await ledger.database.read(read)


def usd(figures):
    return joined_usd(*(figures.get(name, 0) for name in ("usd", "nano", "atto")))


async def settle(ledger, make, **fields):
    """A batch that has ended, and nobody waits for."""
    tracked = await make.record(ledger, loggers=(), **fields)
    await make.settle(ledger, tracked, loggers=())
    return tracked


async def revise(ledger, make, tracked, revision, **outcome):
    batch = tracked.batch.model_copy(update={"status": "completed"})
    settlement = make.settlement(tracked.account, batch, revision).model_copy(update=outcome)
    return await ledger.revise(settlement, {}, make.ending(tracked.account, batch, revision))


async def test_an_ending_is_in_the_sums_once(ledger, make, attribution):
    await settle(ledger, make, attribution=attribution)
    assert await Spend(ledger).roll() == 1
    assert await Spend(ledger).roll() == 0
    (((_, day, group), figures),) = (await rows(ledger, Kind(0))).items()
    assert datetime.fromtimestamp(day * 86_400, UTC) == datetime(2027, 1, 15, tzinfo=UTC)
    assert (group.team, group.user_name, group.key_id, group.status, group.labels) == (
        "search", "ada", "key_1", "completed", "",
    )  # fmt: skip
    assert (figures["batches"], figures["lines"], usd(figures)) == (1, 3, Decimal("0.000738"))
    assert (figures["input_tokens"], figures["output_tokens"]) == (10, 4)
    (((_, _, labelled), _),) = (await rows(ledger, Kind.LABELLED)).items()
    assert labelled.labels == '[["","nightly"]]'
    assert await spend_check.check(ledger.database) == []


async def test_a_revision_takes_the_earlier_figures_place(ledger, make, clock):
    tracked = await settle(ledger, make)
    await Spend(ledger).roll()
    clock.advance(2 * HALF_DAY)
    for revision, amount in ((3, "0.3"), (2, "0.2")):
        cost = Cost(total=Decimal(amount), known=Decimal(amount))
        assert await revise(ledger, make, tracked, revision, cost=cost)
    assert await Spend(ledger).roll() == 2
    (figures,) = (await rows(ledger, Kind(0))).values()
    assert (figures["batches"], usd(figures)) == (1, Decimal("0.3")), "the newest, for the day it was first settled"
    assert await spend_check.check(ledger.database) == []


async def test_workers_at_once_add_each_ending_once(ledger, open_another, make, monkeypatch):
    monkeypatch.setattr(rolling, "ROLL_EVENTS", 3)
    for _ in range(20):
        await settle(ledger, make)
    others = [await open_another() for _ in range(2)]
    assert sum(await asyncio.gather(*(Spend(one).roll() for one in (ledger, *others)))) == 20
    (figures,) = (await rows(ledger, Kind(0))).values()
    assert figures["batches"] == 20


async def test_pruned_batches_stay_in_the_sums_also_after_a_rebuild(ledger, make, clock):
    for _ in range(3):
        await settle(ledger, make)
    clock.advance(1)
    assert await prune(ledger, settled_before=clock.now) == 3, "pruning brings the sums up to date first"
    await settle(ledger, make)
    await Spend(ledger).roll()
    before = await rows(ledger)
    assert [figures["batches"] for (kind, *_), figures in before.items() if kind == Kind(0)] == [4]
    assert await Spend(ledger).rebuild() == 1
    assert await rows(ledger) == before
    assert await spend_check.check(ledger.database) == []


async def test_a_sandboxs_batches_are_summed_apart(ledger, make, clock):
    tracked = await settle(ledger, make)
    await settle(ledger, make)
    assert await revise(ledger, make, tracked, 2, notes=("invented",))
    await Spend(ledger).roll()
    for _ in range(2):
        for kind in (Kind(0), Kind.INVENTED):
            assert [figures["batches"] for figures in (await rows(ledger, kind)).values()] == [1]
        assert await spend_check.check(ledger.database) == []
        clock.advance(1)
        await prune(ledger, settled_before=clock.now)
        await Spend(ledger).rebuild()


async def test_what_is_not_summed_yet_is_not_pruned(ledger, make, clock):
    await settle(ledger, make)
    clock.advance(1)
    assert await ledger.database.write(lambda session: prune_batches(session, clock.now)) == 0


async def test_metadata_keys_label_what_ends_after_they_are_named(ledger, make):
    await settle(ledger, make, metadata={"customer": "acme"})
    await Spend(ledger).label(["customer"])
    await settle(ledger, make, metadata={"customer": "bolt", "other": "x"})
    await Spend(ledger).roll()

    async def labels():
        return {group.labels for _, _, group in await rows(ledger, Kind.LABELLED)}

    assert await labels() == {"[]", '[["customer","bolt"]]'}
    assert await spend_check.check(ledger.database) == []
    await Spend(ledger).rebuild(["customer"])
    assert await labels() == {'[["customer","acme"]]', '[["customer","bolt"]]'}
    await Spend(ledger).rebuild([])
    assert await labels() == {"[]"}
    assert await Spend(ledger).metadata_keys() == []


async def test_check_names_sums_that_differ(ledger, make):
    await settle(ledger, make)
    await Spend(ledger).roll()
    for column in ("lines", "atto", "period"):
        statement = f"UPDATE batchmeter.spend_sum SET {column} = {column} + 1 WHERE kind = 0"
        await ledger.database.write(partial(change, statement=statement))
        assert "openai" in str(await spend_check.check(ledger.database)), column
        await Spend(ledger).rebuild()
        assert await spend_check.check(ledger.database) == [], column


async def change(session, statement):
    assert await session.run(session.statement(statement)) > 0


async def test_what_databases_refuse_is_summed(ledger, make):
    await Spend(ledger).label(["note"])
    odd = {"note": "cut \ud83d\x00", "\x00": "x"}
    await settle(ledger, make, attribution=Attribution(team="a\x00b", tags=("\ud83d",)), metadata=odd)
    tracked = await settle(ledger, make)
    huge = Decimal("1e40")
    usage = Usage(input_tokens=2**70)
    assert await revise(ledger, make, tracked, 2, cost=Cost(total=huge, known=huge), usage=usage)
    await Spend(ledger).roll()
    found = await rows(ledger, Kind(0))
    assert {group.team for _, _, group in found} == {r"a\x00b", ""}
    assert sum(figures.get("inexact", 0) for figures in found.values()) == 1
    assert "costs of more than 18 decimals, rounded in the sums of reports: 1" in (await check(ledger)).warnings
    assert await spend_check.check(ledger.database) == []


amounts = st.decimals(min_value=0, max_value=10**6, places=18)
MODELS = st.dictionaries(st.sampled_from("abc"), st.none() | amounts, max_size=3)
TAGS = st.lists(st.sampled_from("xy"), max_size=2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("settle"), MODELS, st.sampled_from(["", "t1", "t2"]), TAGS),
        st.tuples(st.just("revise"), st.integers(0, 20), MODELS, st.integers(2, 4)),
        st.tuples(st.sampled_from(["roll", "crash", "prune", "rebuild", "wait", "ask"])),
    ),
    min_size=4,
    max_size=14,
)


ASKED = (CostQuery(("team",)), CostQuery(("day", "tag")), CostQuery(("model",)), CostQuery())


class Books:
    """A ledger under any steps, and what it must come to, added up here by hand."""

    def __init__(self, ledger, make):
        self.ledger = ledger
        self.make = make
        self.spend = Spend(ledger)  # keeps answers
        self.known: list = []
        self.pruned: set = set()

    def outcome(self, models):
        complete = None not in models.values()
        known = sum((cost for cost in models.values() if cost is not None), Decimal(0))
        shares = {
            name: ModelUsage(lines=2, usage=Usage(output_tokens=5), cost=cost, unknown={} if cost is not None else {"r": 2})
            for name, cost in models.items()
        }  # fmt: skip
        lacking = sum(2 for cost in models.values() if cost is None)
        return {
            "cost": Cost(total=known if complete else None, known=known, unknown={"r": lacking} if lacking else {}),
            "models": shares,
            "request_counts": LineCounts(total=2 * len(models), succeeded=2 * len(models)),
            "usage": Usage(output_tokens=5 * len(models)),
        }

    async def settle(self, models, team, tags):
        owner = Attribution(team=team or None, tags=tuple(tags))
        tracked = await self.make.record(self.ledger, loggers=(), attribution=owner)
        claim = await self.ledger.claim(tracked.account, tracked.batch_id, owner="w", lease_seconds=60)
        batch = tracked.batch.model_copy(update={"status": "completed"})
        settlement = self.make.settlement("openai", batch).model_copy(update=self.outcome(models))
        assert await self.ledger.settle(claim, settlement, {}, self.make.ending("openai", batch))
        self.known.append([tracked, self.ledger.now() // 86_400_000, team, tags, {1: models}])

    async def revise(self, which, models, revision):
        if self.known:
            entry = self.known[which % len(self.known)]
            if await revise(self.ledger, self.make, entry[0], revision, **self.outcome(models)):
                entry[4][revision] = models

    async def roll(self):
        await Spend(self.ledger).roll(blocks=1)

    async def crash(self):
        """A worker dies with its transaction open."""

        async def die(session):
            await rolling.roll_block(EVER, session)
            raise KeyError("dead")

        with pytest.raises(KeyError):
            await self.ledger.database.write(die)

    async def prune(self):
        await prune(self.ledger, settled_before=self.ledger.now())

    async def rebuild(self):
        await Spend(self.ledger).rebuild()

    async def wait(self):
        self.make.clock.advance(HALF_DAY)

    async def ask(self):
        return await self.spend.rows(*ASKED)

    async def check(self):
        assert await self.ask() == await Spend(self.ledger).rows(*ASKED)
        assert await spend_check.check(self.ledger.database) == []
        whole, shares, tags = defaultdict(Counter), defaultdict(Counter), defaultdict(Counter)
        for _, day, team, marks, revisions in self.known:
            models = revisions[max(revisions)]
            total = sum((cost.scaleb(18, EXACT) for cost in models.values() if cost is not None), Decimal(0))
            for place in ((whole, (day, team)), *((tags, (day, tag)) for tag in set(marks))):
                place[0][place[1]].update(
                    {"batches": 1, "lines": 2 * len(models), "atto": int(total), "tokens": 5 * len(models)}
                )
            for name, cost in models.items():
                shares[name].update({"batches": 1, "atto": int((cost or Decimal(0)).scaleb(18, EXACT))})
        assert await self.summed(Kind(0), lambda day, group: [(day, group.team)]) == whole
        assert await self.summed(Kind.MONTHS, lambda _, group: [group.team]) == by_team(whole)
        assert await self.summed(Kind.LABELLED, lambda day, group: [(day, v) for _, v in labels_of(group)]) == tags
        models = await self.summed(Kind.MODELS, lambda _, group: [group.model])
        assert {name: (sums["batches"], sums["atto"]) for name, sums in models.items()} == {
            name: (sums["batches"], sums["atto"]) for name, sums in shares.items()
        }

    async def summed(self, kind, names):
        found = defaultdict(Counter)
        for (_, period, group), figures in (await rows(self.ledger, kind)).items():
            for name in names(period, group):
                found[name].update({
                    "batches": figures.get("batches", 0),
                    "lines": figures.get("lines", 0),
                    "atto": int(usd(figures).scaleb(18, EXACT)),
                    "tokens": figures.get("output_tokens", 0),
                })  # fmt: skip
        return {name: sums for name, sums in found.items() if sums["batches"]}


def by_team(whole):
    teams = defaultdict(Counter)
    for (_, team), sums in whole.items():
        teams[team].update(sums)
    return teams


@pytest.fixture
def books(ledger, make, monkeypatch):
    monkeypatch.setattr(rolling, "ROLL_EVENTS", 3)
    return Books(ledger, make)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_sums_are_what_settlements_come_to(books, steps):
    """Any steps, on a ledger that goes on from example to example."""
    for name, *arguments in steps:
        await getattr(books, name)(*arguments)
    await books.check()


def test_every_unit_of_usage_has_a_column():
    assert tuple(Usage.model_fields) == UNITS
    assert len(set(COLUMNS)) == len(COLUMNS)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**11), max_value=10**11, places=18))
def test_amounts_are_split_and_joined_without_loss(amount):
    split, rounded = split_usd(amount)
    assert not rounded
    assert joined_usd(**{"usd": 0, "nano": 0, "atto": 0} | split) == amount
