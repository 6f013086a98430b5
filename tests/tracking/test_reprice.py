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


async def test_two_that_reprice_at_once_leave_the_later_price(world, repricer, monkeypatch):
    """Another process writes the next revision between this one's reading and its writing."""
    cheaper = {"openai/gpt-4o-mini": {"batch": {"input": "0.1", "output": "0.1"}}}
    other = Repricer(world.ledger, world.accounts, world.plugins, PriceBook.load(cheaper))
    revise, first = world.ledger.revise, [True]

    async def after_the_other(*given, **named):
        if first:
            first.clear()
            (one,) = await other.reprice(["a"])
            assert one.after.total == Decimal("0.00022")
        return await revise(*given, **named)

    monkeypatch.setattr(world.ledger, "revise", after_the_other)
    (one,) = await repricer.reprice(["a"])
    assert (one.before.total, one.after.total, one.revision) == (Decimal("0.00022"), Decimal("0.0022"), 3)
    settlement, _ = await world.ledger.settlement("a", "openai")
    assert (settlement.revision, settlement.cost.total) == (3, Decimal("0.0022"))
    assert [
        event.revision for event in await world.endings() if (event.account, event.batch_id) == ("openai", "a")
    ] == [1, 2, 3]


async def test_late_files_and_a_reprice_at_once_are_both_kept(world, repricer):
    """The price becomes another one while the late file is read."""
    provider = world.accounts.get("openai")
    provider.files["err"] = [world.error_line("c", "invalid_request")]
    counts = {"total": 3, "completed": 2, "failed": 1}

    async def reprice():
        provider.before_content = None
        assert len(await repricer.reprice(["a"])) == 1

    provider.before_content = reprice
    tracker = world.tracker()
    await tracker.shown(provider, world.batch("a", error_file_id="err", request_counts=counts))
    await tracker.idle()
    settlement, _ = await world.ledger.settlement("a", "openai")
    assert (settlement.revision, settlement.request_counts.failed) == (3, 1)
