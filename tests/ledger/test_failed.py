"""Batches that ended as failed since some time, which a tracker reads again and again."""

import sqlite3

import pytest

from batchmeter.ledger.sqlite import statements


async def test_failed_batches_come_in_the_order_of_their_ends(ledger, make, clock):
    names = []
    for number in range(7):
        clock.advance(10)
        account, status = ("azure", "completed") if number == 3 else ("openai" if number == 4 else "azure", "failed")
        tracked = await make.record(ledger, account=account)
        assert await make.settle(ledger, tracked, status)
        names.append((tracked.batch_id, clock.now))
    open_one = await make.record(ledger, account="azure", batch=make.batch("open", "failed"))
    since = names[1][1]
    found = await ledger.failed("azure", since=since)
    assert [one.batch_id for one in found] == [names[index][0] for index in (1, 2, 5, 6)]
    assert open_one.batch_id not in [one.batch_id for one in found], "it is not settled"
    page = await ledger.failed("azure", since=since, limit=2)
    assert [one.batch_id for one in page] == [names[1][0], names[2][0]]
    rest = await ledger.failed("azure", since=since, after=f"azure\x1f{page[-1].batch_id}")
    assert [one.batch_id for one in rest] == [names[5][0], names[6][0]]
    assert await ledger.failed("azure", since=clock.now + 1) == []


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL's planner counts for itself
async def test_it_reads_only_what_is_new(ledger, url):
    """However many batches there are: by the index on the time of the settlement."""
    text = statements()["list_failed"].text({"since": 1})
    with sqlite3.connect(url) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", {"since": 1, "account": "a", "limit": 1}).fetchall()
    assert [row[3] for row in plan] == ["SEARCH b USING INDEX batch_settled (settled_at>?)"]
