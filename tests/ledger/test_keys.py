"""Batches, files, costs and events of one key, and answers that are given once."""

from decimal import Decimal

import pytest

from batchmeter.access import Access
from batchmeter.models import Attribution, FileObject
from batchmeter.spend.prune import prune


async def test_open_batches_are_those_not_settled(ledger, make, attribution):
    tracked = [await make.record(ledger, attribution=attribution) for _ in range(3)]
    await make.record(ledger, attribution=Attribution(key="key_2"))
    await make.record(ledger)
    assert await Access(ledger).open_batches("key_1") == 3
    await make.settle(ledger, tracked[0], "cancelled")
    assert await Access(ledger).open_batches("key_1") == 2
    assert await Access(ledger).open_batches("key_9") == 0


async def test_an_answer_is_given_once_and_then_repeated(ledger, open_another, clock):
    other = await open_another()
    assert (await ledger.reserve_answer("key_1", "k", lease_seconds=60)).state == "mine"
    assert (await other.reserve_answer("key_1", "k", lease_seconds=60)).state == "busy"
    assert (await other.reserve_answer("key_2", "k", lease_seconds=60)).state == "mine"
    await ledger.keep_answer("key_1", "k", '{"id": "file_1"}')
    kept = await other.reserve_answer("key_1", "k", lease_seconds=60)
    assert (kept.state, kept.document) == ("kept", '{"id": "file_1"}')
    await ledger.drop_answer("key_1", "k")
    assert (await ledger.reserve_answer("key_1", "k", lease_seconds=60)).state == "kept"
    await ledger.drop_answer("key_2", "k")
    assert (await ledger.reserve_answer("key_2", "k", lease_seconds=60)).state == "mine"
    clock.advance(61)
    assert (await other.reserve_answer("key_2", "k", lease_seconds=60)).state == "mine", "whoever had it is gone"
    await prune(ledger, settled_before=clock.now + 1)
    assert (await ledger.reserve_answer("key_1", "k", lease_seconds=60)).state == "mine"


async def test_a_file_knows_its_lines(ledger, attribution):
    await ledger.record_file("openai", FileObject(id="f1"), attribution=attribution, lines=12)
    await ledger.record_file("openai", FileObject(id="f1"))
    assert (await ledger.owner_of("f1")).lines == 12
    await ledger.record_file("openai", FileObject(id="f2"))
    assert (await ledger.owner_of("f2")).lines is None


async def test_settled_batches_are_of_a_time(ledger, make, clock, attribution):
    start = clock.now
    for number in range(5):
        await make.settle(ledger, await make.record(ledger, batch=make.batch(f"b{number}"), attribution=attribution))
        clock.advance(10)
    assert [one.settlement.batch_id for one in await settled(ledger)] == ["b0", "b1", "b2", "b3", "b4"]
    some = await settled(ledger, since=start + 10_000, until=start + 30_000)
    assert [one.settlement.batch_id for one in some] == ["b1", "b2"]
    assert (some[0].settled_at, some[0].submission.account) == (start + 10_000, "openai")
    assert some[0].submission.attribution == attribution
    assert await settled(ledger, since=clock.now) == []


async def settled(ledger, since=None, until=None):
    return [one async for one in Access(ledger).settled_batches(since, until)]


async def test_costs_show_the_newest_revision_and_gauges_follow(ledger, make, clock):
    tracked = await make.record(ledger)
    await make.record(ledger, account="azure")
    await make.settle(ledger, tracked)
    (first,) = await settled(ledger)
    clock.advance(60)
    batch = (await ledger.get_batch(tracked.batch_id)).batch
    settlement = make.settlement("openai", batch, revision=2, total="5")
    settlement = settlement.model_copy(
        update={"cost": settlement.cost.model_copy(update={"total": None, "unknown": {"unknown_model": 2}})}
    )
    assert await ledger.revise(settlement, make.groups(), make.ending("openai", batch, 2)) is True
    (second,) = await settled(ledger)
    assert (second.settlement.batch_id, second.settled_at) == (batch.id, first.settled_at)
    assert second.settlement == settlement
    assert (settlement.cost.total, settlement.cost.known) == (None, Decimal(5))
    gauges = {(g.account, g.status): g for g in await Access(ledger).cost_gauges()}
    azure, openai = gauges["azure", "in_progress"], gauges["openai", "completed"]
    assert (azure.batches, azure.settled, azure.known_usd, azure.unpriced_lines) == (1, 0, 0, 0)
    assert (openai.batches, openai.settled, openai.unpriced_lines) == (1, 1, 2)
    assert openai.known_usd == pytest.approx(5)


async def test_events_of_one_key(ledger, make, attribution):
    await make.settle(ledger, await make.record(ledger, batch=make.batch("mine"), attribution=attribution))
    await make.record(ledger, batch=make.batch("other"))
    assert [e.event.batch_id for e in await ledger.events(key="key_1")] == ["mine", "mine"]
    assert await ledger.events(key="key_2") == []
    assert len(await ledger.events()) == 3


async def test_owners_of_many_at_once(ledger, make, attribution, clock):
    await make.record(ledger, batch=make.batch("b1"), attribution=attribution)
    await make.record(ledger, batch=make.batch("b2"))
    await make.record(ledger, account="other", batch=make.batch("b2"), attribution=attribution)
    await ledger.record_file("openai", FileObject(id="f1"), attribution=attribution, lines=7)
    await ledger.record_file("openai", FileObject(id="f2"))
    clock.advance(1)
    await ledger.record_file("other", FileObject(id="f2"), attribution=attribution)
    ids = ["b1", "b2", "f1", "f2", "none"]
    for account in (None, "openai", "other"):
        one_by_one = {name: await ledger.owner_of(name, account) for name in ids}
        assert await ledger.owners_of(ids, account) == {name: owner for name, owner in one_by_one.items() if owner}
    assert (await ledger.owners_of(ids))["f1"].lines == 7
    assert await ledger.owners_of([]) == {}


async def test_a_key_s_batches_in_pages(ledger, make, attribution):
    mine = []
    for number in range(9):
        whose = (attribution, attribution.model_copy(update={"key": "key_2"}), None)[number % 3]
        tracked = await make.record(ledger, **({"attribution": whose} if whose else {}))
        mine += [tracked] if whose is attribution else []
    await make.record(ledger, account="other", attribution=attribution)
    mine.reverse()
    ids = [tracked.batch_id for tracked in mine]
    page = await Access(ledger).batches_of_key("key_1", "openai", limit=2)
    assert [known.batch_id for known in page] == ids[:2]
    assert page[0].attribution == attribution
    rest = await Access(ledger).batches_of_key("key_1", "openai", after=ids[1], limit=2)
    assert [known.batch_id for known in rest] == ids[2:]
    assert await Access(ledger).batches_of_key("key_1", "openai", after=ids[-1], limit=2) == []
    assert await Access(ledger).batches_of_key("key_2", "openai", after=ids[1], limit=2) is None
    assert await Access(ledger).batches_of_key("key_1", "other", after=ids[1], limit=2) is None
    assert await Access(ledger).batches_of_key("key_3", "openai", limit=2) == []


async def test_a_key_s_files_in_pages(ledger, make, attribution, clock):
    other = attribution.model_copy(update={"key": "key_2", "tags": ('"key":"key_1"', "\0", "\ud83d")})
    for number in range(3):
        await ledger.record_file("openai", FileObject(id=f"f{number}"), attribution=attribution)
        await ledger.record_file("openai", FileObject(id=f"g{number}"), attribution=other)
        await ledger.record_file("openai", FileObject(id=f"h{number}"))
        clock.advance(number)  # two of them in the same moment
    await ledger.record_file("other", FileObject(id="f9"), attribution=attribution)
    batch = make.batch(status="completed", output_file_id="out", error_file_id=None)
    await make.record(ledger, batch=batch, attribution=attribution)

    async def page(**asked):
        return await Access(ledger).files_of_key("key_1", "openai", **asked)

    ids = ["out", "f2", "f1", "f0"]
    assert await page(limit=9) == ids
    assert await page(limit=9, oldest_first=True) == ids[::-1]
    for after in range(4):
        assert await page(limit=2, after=ids[after]) == ids[after + 1 : after + 3]
        assert await page(limit=9, after=ids[after], oldest_first=True) == ids[:after][::-1]
    assert await Access(ledger).files_of_key("key_2", "openai", limit=9) == ["g2", "g1", "g0"]
    assert await page(after="g1", limit=9) is None
    assert await page(after="f9", limit=9) is None
    assert await page(after="none", limit=9) is None
