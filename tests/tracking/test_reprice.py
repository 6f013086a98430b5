"""The settlements that are priced again."""

from decimal import Decimal

import pytest

from batchmeter.pricebook.book import PriceBook
from batchmeter.reports import reprice as module
from batchmeter.reports.reprice import Repricer

DEARER = {"openai/gpt-4o-mini": {"batch": {"input": "1", "output": "1"}}}


@pytest.fixture
async def repricer(world, monkeypatch):
    """Five settled batches over pages of two; two accounts, of which the second has the ids of the first's."""
    monkeypatch.setattr(module, "PAGE", 2)
    for account, names in (("openai", "abc"), ("gateway", "cb")):
        provider = world.provider(account)
        for name in names:
            await world.submitted(name, account)
            provider.batches[name] = [world.batch(name)]
    tracker = world.tracker()
    await tracker.once()
    await tracker.idle()
    assert len(await world.endings()) == 5
    return Repricer(world.ledger, world.accounts, world.plugins, PriceBook.load(DEARER))


async def test_every_settled_batch_whatever_page_it_ends(world, repricer):
    changed = await repricer.reprice()
    assert sorted((one.account, one.batch_id) for one in changed) == [
        ("gateway", "b"), ("gateway", "c"), ("openai", "a"), ("openai", "b"), ("openai", "c"),
    ]  # fmt: skip
    assert {one.after.total for one in changed} == {Decimal("0.0022")}
    assert await repricer.reprice() == []


async def test_an_open_batch_of_the_same_id_ends_no_page(world, repricer):
    for name in "abc":
        await world.submitted(name, "third")
    assert len(await repricer.reprice()) == 5


async def test_a_named_batch_at_each_account_that_has_it(world, repricer):
    changed = await repricer.reprice(["c", "nobody's"])
    assert sorted(one.account for one in changed) == ["gateway", "openai"]
