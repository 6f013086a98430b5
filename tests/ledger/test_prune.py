"""Forgetting what is old, and nothing that is still of use."""

import asyncio
from decimal import Decimal
from functools import partial

from batchmeter.ledger import open_ledger
from batchmeter.ledger import settlements as endings
from batchmeter.ledger.records import DeliveryResult
from batchmeter.models import FileObject
from batchmeter.spend.prune import prune, prune_batches, pruned_totals
from batchmeter.spend.rolling import roll


async def test_pruning_forgets_settled_batches_whose_events_all_arrived(ledger, make, clock):
    for name, settled in (("waiting", True), ("open", False), ("done", True)):
        tracked = await make.record(ledger, batch=make.batch(name), loggers=["file"] if name == "waiting" else [])
        if settled:
            await make.settle(ledger, tracked, loggers=())
    clock.advance(1)
    assert await prune(ledger, settled_before=clock.now - 1000) == 0
    await make.settle(ledger, await make.record(ledger, batch=make.batch("young")), loggers=())
    assert await prune(ledger, settled_before=clock.now) == 1
    assert {tracked.batch_id for tracked in await ledger.list_batches()} == {"waiting", "open", "young"}
    assert await ledger.events(batch_id="done") == []
    assert await ledger.settlement("done") is None
    last = (await ledger.events())[-1].seq
    await make.record(ledger)
    assert (await ledger.events(after=last)) != [], "numbers are not used again"


async def test_files_nobody_has_used_for_as_long_are_forgotten_too(ledger, make, clock):
    async def known(*names):
        return set(await ledger.owners_of(names))

    for name in ("in", "again", "unused"):
        await ledger.record_file("openai", FileObject(id=name))
    first = make.batch("first", output_file_id="out", error_file_id="err")
    await make.settle(ledger, await make.record(ledger, batch=first, loggers=(), input_file_id="in"), loggers=())
    clock.advance(2 * 86400)
    await ledger.record_file("openai", FileObject(id="young"))
    second = make.batch("second", output_file_id="out2")
    tracked = await make.record(ledger, batch=second, loggers=(), input_file_id="again")
    clock.advance(2 * 86400)
    week_old = clock.now - 5 * 86_400_000
    assert await prune(ledger, settled_before=week_old) == 0
    names = {"in", "again", "unused", "out", "err", "young", "out2"}
    assert await known(*names) == names

    assert await prune(ledger, settled_before=clock.now) == 1
    assert await known(*names) == {"again", "young", "out2"}, "not older than a batch that is still open"
    await make.settle(ledger, tracked, loggers=())
    clock.advance(7200)
    assert await prune(ledger, settled_before=clock.now) == 1
    assert await known(*names) == set()


async def test_every_page_of_files_is_looked_at(ledger, make, clock, monkeypatch):
    monkeypatch.setattr("batchmeter.spend.prune.FILE_PAGE", 3)
    for number in range(20):
        await ledger.record_file("openai" if number % 3 else "other", FileObject(id=f"f{number // 2}"))
    clock.advance(7200)
    await ledger.record_file("openai", FileObject(id="f33"))
    await prune(ledger, settled_before=clock.now)
    assert set(await ledger.owners_of([*(f"f{n}" for n in range(20)), "f33"])) == {"f33"}


async def test_two_that_prune_at_once_forget_each_batch_once(ledger, open_another, make, clock, monkeypatch):
    monkeypatch.setattr("batchmeter.spend.prune.PRUNE_BLOCK", 5)
    for _ in range(40):
        await make.settle(ledger, await make.record(ledger, loggers=()), loggers=())
    clock.advance(1)
    pruning = [prune(one, settled_before=clock.now) for one in (ledger, await open_another(), await open_another())]
    assert sum(await asyncio.gather(*pruning)) == 40
    (sums,) = await ledger.database.read(pruned_totals)
    assert (sums.batches, sums.request_counts.succeeded) == (40, 120)


async def test_a_revision_and_a_prune_at_once_exclude_each_other(server_url, make, clock, a_lock_is_waited_for):
    one, other = open_ledger(server_url, clock=clock), open_ledger(server_url, clock=clock)
    await asyncio.gather(one.open(), other.open())
    tracked = await make.record(one, loggers=())
    await make.settle(one, tracked, loggers=())
    clock.advance(1)
    await roll(one.database)
    batch = tracked.batch.model_copy(update={"status": "completed"})
    revised = [make.settlement("openai", batch, number, total=f"{number}") for number in (2, 3)]
    revision = make.ending("openai", batch, 2), make.ending("openai", batch, 3)

    async def revise(session):
        assert await endings.revise(session, revised[0], {}, revision[0])
        assert await other.database.write(partial(prune_batches, settled_before=clock.now)) == 0, "it is being revised"

    async def forget(session):
        assert await prune_batches(session, settled_before=clock.now) == 1
        later.append(asyncio.create_task(other.revise(revised[1], {}, revision[1])))
        await a_lock_is_waited_for()

    later = []
    await one.database.write(revise)
    await roll(one.database)
    await one.database.write(forget)
    assert await later[0] is False
    assert await one.events() == []
    (sums,) = await one.database.read(pruned_totals)
    assert sums.known == 2
    await asyncio.gather(one.aclose(), other.aclose())


async def test_what_was_forgotten_is_summed(ledger, make, clock, monkeypatch):
    monkeypatch.setattr("batchmeter.spend.prune.PRUNE_BLOCK", 2)
    began = clock.now
    for account, status in (("openai", "completed"), ("openai", "expired"), ("azure", "completed")) * 2:
        tracked = await make.record(ledger, account, loggers=())
        await make.settle(ledger, tracked, status, loggers=())
        clock.advance(60)
    batch = tracked.batch.model_copy(update={"status": "completed"})
    corrected = make.settlement("azure", batch, revision=2, total="0.5")
    assert await ledger.revise(corrected, {}, make.ending("azure", batch, 2))
    kept = await make.record(ledger, loggers=())
    assert await ledger.database.read(pruned_totals) == []
    assert await prune(ledger, settled_before=clock.now) == 6
    await make.settle(ledger, kept, loggers=())
    sums = {(one.account, one.status): one for one in await ledger.database.read(pruned_totals)}
    assert {key: one.batches for key, one in sums.items()} == {
        ("openai", "completed"): 2,
        ("openai", "expired"): 2,
        ("azure", "completed"): 2,
    }
    assert sums["openai", "completed"].known == 2 * Decimal("0.000738")
    assert sums["azure", "completed"].known == Decimal("0.500738"), "the newest revision"
    assert sums["openai", "completed"].since.timestamp() * 1000 == began
    clock.advance(1)
    assert await prune(ledger, settled_before=clock.now) == 1
    assert {one.batches for one in await ledger.database.read(pruned_totals)} == {2, 3}


async def test_a_logger_that_is_gone_keeps_no_batch_once_it_is_abandoned(ledger, make, clock):
    await make.settle(ledger, await make.record(ledger, loggers=["slack", "file"]), loggers=["slack", "file"])
    (held,) = await ledger.claim_deliveries("file", owner="d", limit=5, lease_seconds=60)
    clock.advance(1)
    assert await prune(ledger, settled_before=clock.now) == 0
    assert await ledger.abandon("file", reason="abandoned") == 2
    assert await ledger.finish_deliveries([DeliveryResult(held, "delivered")]) == 0, "it had been given up"
    assert await ledger.next_delivery_at(["file"]) is None
    assert await ledger.replay("file", dead_only=True) == 2
    for name in ("slack", "file"):
        assert await ledger.abandon(name, reason="abandoned") == 2
    assert {(d.state, d.last_error) for d in await ledger.deliveries()} == {("dead", "abandoned")}
    assert await prune(ledger, settled_before=clock.now) == 1
