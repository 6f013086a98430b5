"""Deliveries: in order, leased, fenced, replayable."""

import asyncio

from batchmeter.ledger.records import DeliveryResult


async def claim(ledger, logger="file", limit=100, lease_seconds=30.0, owner="d"):
    return await ledger.claim_deliveries(logger, owner=owner, limit=limit, lease_seconds=lease_seconds)


async def finish(ledger, deliveries, state="delivered", **result):
    return await ledger.finish_deliveries([DeliveryResult(delivery, state, **result) for delivery in deliveries])


def kinds(deliveries):
    return [(d.stored.event.batch_id, d.stored.event.type) for d in deliveries]


async def test_deliveries_come_in_recorded_order_with_the_stored_bytes(ledger, make, clock):
    for name in ("b2", "b1", "b3"):
        await make.record(ledger, batch=make.batch(name), loggers=["file", "otel"])
        clock.advance(1)
    first = await claim(ledger, limit=2)
    assert [d.stored.event.batch_id for d in first] == ["b2", "b1"]
    assert [d.stored for d in first] == (await ledger.events())[:2]
    assert (first[0].state, first[0].attempts) == ("pending", 0)
    assert [d.stored.event.batch_id for d in await claim(ledger)] == ["b3"]
    assert await claim(ledger) == []
    assert len(await claim(ledger, "otel")) == 3
    assert await claim(ledger, "unknown") == []


async def test_an_ending_waits_until_the_beginning_is_delivered_or_dead(ledger, make, clock):
    for state in ("delivered", "dead"):
        tracked = await make.record(ledger, batch=make.batch(state))
        await make.settle(ledger, tracked)
        (beginning,) = await claim(ledger)
        assert beginning.stored.event.type == "acreate_batch"
        assert await claim(ledger) == []
        await finish(ledger, [beginning], "pending", next_attempt_at=clock.now + 60_000, error="503")
        assert await claim(ledger) == []
        assert await ledger.next_delivery_at(["file"]) == clock.now + 60_000, "nothing to do until then"
        clock.advance(60)
        (beginning,) = await claim(ledger)
        await finish(ledger, [beginning], state)
        assert await ledger.next_delivery_at(["file"]) <= clock.now
        (ending,) = await claim(ledger)
        assert kinds([ending]) == [(state, "batch_success")]
        await finish(ledger, [ending])


async def test_an_ending_without_a_beginning_for_that_logger_waits_for_nothing(ledger, make):
    await make.settle(ledger, await make.record(ledger, loggers=["file"]), loggers=["late"])
    assert [kind for _, kind in kinds(await claim(ledger, "late"))] == ["batch_success"]
    assert [kind for _, kind in kinds(await claim(ledger, "file"))] == ["acreate_batch"]


async def test_one_logger_s_trouble_holds_up_no_other(ledger, make):
    await make.settle(ledger, await make.record(ledger, loggers=["file", "otel"]), loggers=["file", "otel"])
    await claim(ledger, "file")
    await finish(ledger, await claim(ledger, "otel"))
    assert [kind for _, kind in kinds(await claim(ledger, "otel"))] == ["batch_success"]


async def test_a_lost_lease_cannot_finish(ledger, make, clock):
    await make.record(ledger)
    (old,) = await claim(ledger, lease_seconds=5)
    assert await ledger.next_delivery_at(["file"]) == clock.now + 5000
    clock.advance(5)
    (new,) = await claim(ledger, owner="e")
    assert await finish(ledger, [old]) == 0
    assert await finish(ledger, [new]) == 1
    assert await finish(ledger, [new]) == 0
    assert await ledger.next_delivery_at(["file"]) is None
    assert await ledger.next_delivery_at([]) is None


async def test_results_are_kept(ledger, make, clock):
    for name in ("good", "bad", "again"):
        await make.record(ledger, batch=make.batch(name))
    good, bad, again = await claim(ledger)
    results = [
        DeliveryResult(good, "delivered"),
        DeliveryResult(bad, "dead", error="400: no"),
        DeliveryResult(again, "pending", next_attempt_at=clock.now + 500, error="timeout"),
    ]
    assert await ledger.finish_deliveries(results) == 3
    good, bad, again = await ledger.deliveries(logger="file")
    assert (good.state, good.delivered_at, good.attempts) == ("delivered", clock.now, 1)
    assert (bad.state, bad.last_error, bad.next_attempt_at) == ("dead", "400: no", None)
    assert (again.state, again.last_error, again.next_attempt_at) == ("pending", "timeout", clock.now + 500)
    assert await ledger.deliveries(state="dead") == [bad]
    assert await ledger.deliveries(logger="otel") == []
    assert len(await ledger.deliveries(limit=2)) == 2
    (gauge,) = await ledger.gauges()
    assert (gauge.logger, gauge.pending, gauge.dead, gauge.delivered) == ("file", 1, 1, 1)
    assert gauge.oldest_pending_at == clock.now


async def test_gauges_of_an_empty_ledger(ledger):
    assert await ledger.gauges() == []


async def test_replay_reaches_back_to_before_a_logger_was_enabled(ledger, make, clock):
    await make.settle(ledger, await make.record(ledger, loggers=["file"]))
    clock.advance(10)
    await make.record(ledger, loggers=["file"])
    assert await ledger.replay("new", since=clock.now) == 1
    assert await ledger.replay("new") == 2, "the pending one is due already"
    assert await ledger.replay("new") == 0
    claimed = await claim(ledger, "new")
    assert [kind for _, kind in kinds(claimed)] == ["acreate_batch", "acreate_batch"]
    await finish(ledger, claimed)
    assert [kind for _, kind in kinds(await claim(ledger, "new"))] == ["batch_success"]
    assert len(await claim(ledger, "file")) == 2


async def test_replay_reopens_what_was_delivered_or_dead(ledger, make, clock):
    for name in ("good", "bad"):
        await make.record(ledger, batch=make.batch(name))
    good, bad = await claim(ledger)
    await finish(ledger, [good])
    await finish(ledger, [bad], "dead", error="no")
    clock.advance(1)
    assert await ledger.replay("file", dead_only=True, since=clock.now) == 0
    assert await ledger.replay("file", dead_only=True) == 1
    again = await claim(ledger)
    assert [d.stored.event.batch_id for d in again] == ["bad"]
    assert again[0].stored.payload == bad.stored.payload
    assert await finish(ledger, [bad], "dead") == 0, "the attempt of before the replay is fenced off"
    await finish(ledger, again)
    assert await ledger.replay("file", since=clock.now) == 0
    assert await ledger.replay("file") == 2
    assert [d.attempts for d in await claim(ledger)] == [0, 0]


async def test_replay_for_dead_only_does_not_backfill(ledger, make):
    await make.record(ledger, loggers=[])
    assert await ledger.replay("new", dead_only=True) == 0


async def test_replays_at_one_moment_make_each_event_due_once(ledger, open_another, make):
    for _ in range(20):
        await make.record(ledger)
    await finish(ledger, await claim(ledger, limit=20))
    ledgers = [ledger, await open_another(), await open_another()]
    for logger, due in (("file", 20), ("new", 20)):
        assert sum(await asyncio.gather(*(one.replay(logger) for one in ledgers))) == due
        assert len(await claim(ledger, logger, limit=100)) == due


async def test_workers_of_one_logger_never_share_a_delivery(ledger, open_another, make):
    for _ in range(40):
        await make.record(ledger)
    ledgers = [ledger, await open_another()]
    held = []

    async def work(number):
        while taken := await claim(ledgers[number % 2], limit=3, owner=f"d{number}"):
            held.extend(d.stored.seq for d in taken)

    await asyncio.gather(*(work(number) for number in range(4)))
    held.extend(d.stored.seq for d in await claim(ledger))
    assert len(held) == len(set(held)) == 40
