"""Answers of the sums that are kept in memory: exact after every ending, revision, prune and rebuild, whoever made it."""

from decimal import Decimal

from batchmeter.host import CostQuery
from batchmeter.models import Cost
from batchmeter.spend import answers
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

    async def counted(reader, queries):
        reads.extend(queries)
        return await read(reader, queries)

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
