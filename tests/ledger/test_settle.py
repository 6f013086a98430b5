"""Settling: once per batch and revision, with its event and deliveries, whatever else happens."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from unittest.mock import ANY

import pytest

from batchmeter.access import Access
from batchmeter.errors import LedgerError


async def test_a_settlement_event_and_deliveries_appear_together(ledger, make, clock):
    tracked = await make.record(ledger, batch=make.batch("b1"), loggers=["file"])
    claim = await ledger.claim("openai", "b1", owner="w", lease_seconds=60)
    batch = make.batch("b1", "completed", output_file_id="out")
    settlement = make.settlement("openai", batch)
    event = make.ending("openai", batch)
    clock.advance(2)
    await make.subscribe(ledger, ["otel"])
    assert await ledger.settle(claim, settlement, make.groups(), event, callbacks=["otel"]) is True
    assert await ledger.settlement("b1") == (settlement, make.groups())
    assert await ledger.settlement("b1", "openai") == (settlement, make.groups())
    assert await ledger.settlement("b1", "azure") is None
    settled = await ledger.get_batch("b1")
    assert (settled.settled_at, settled.next_poll_at, settled.batch) == (clock.now, None, batch)
    stored = (await ledger.events())[-1]
    assert stored.event == event
    loggers = [d.logger for d in await ledger.deliveries() if d.stored.seq == stored.seq]
    assert loggers == ["file", "otel"], "whoever got the beginning gets the end"
    assert tracked.recorded_at < settled.settled_at


async def test_only_the_first_of_many_settles(ledger, open_another, make, clock):
    tracked = await make.record(ledger)
    ledgers = [ledger, await open_another()]
    claims = []
    for number in range(4):
        claims.append(await ledgers[number % 2].claim("openai", tracked.batch_id, owner=f"w{number}", lease_seconds=1))
        clock.advance(1)
    outcomes = await asyncio.gather(
        *(make.settle_claim(ledgers[n % 2], claim) for n, claim in enumerate([*claims, claims[-1], claims[-1]]))
    )
    assert sum(outcomes) == 1
    assert len(await ledger.events(types=["batch_success"])) == 1
    assert len(await ledger.settlements()) == 1
    assert await ledger.claim("openai", tracked.batch_id, owner="w", lease_seconds=1) is None


async def test_a_revision_is_kept_once_and_told_to_all_who_knew(ledger, make):
    tracked = await make.record(ledger, loggers=["file"])
    batch = tracked.batch.model_copy(update={"status": "completed"})
    second = make.settlement("openai", batch, revision=2, total="1.5")
    await make.subscribe(ledger, ["otel"])
    correction = make.ending("openai", batch, revision=2)
    assert await ledger.revise(second, {}, correction, callbacks=["otel"]) is False, "nothing to revise yet"
    await make.settle(ledger, tracked, loggers=["file"])
    assert await ledger.revise(second, {}, correction, callbacks=["otel"]) is True
    assert await ledger.revise(second, {}, correction, callbacks=["otel"]) is False
    assert await ledger.settlement(batch.id) == (second, {})
    assert await ledger.settlements() == [(second, {})]
    last = (await ledger.events())[-1]
    assert last.event == correction
    assert [d.logger for d in await ledger.deliveries() if d.stored.seq == last.seq] == ["file", "otel"]


async def test_settlements_are_paged_as_settled_even_while_they_are_revised(ledger, make, clock):
    names = ["c", "a", "b", "d"]
    tracked = {name: await make.record(ledger, batch=make.batch(name)) for name in names}
    started = clock.now
    for name in names:
        await make.settle(ledger, tracked[name])
        clock.advance(1)
    seen, after = [], None
    while page := await ledger.settlements(after=after, limit=2):
        for settlement, groups in page:
            seen.append(settlement.batch_id)
            revised = settlement.model_copy(
                update={"revision": 2, "settled_at": settlement.settled_at + timedelta(days=1)}
            )
            await ledger.revise(revised, groups, make.ending("openai", settlement.batch, 2))
        after = page[-1][0].batch_id
    assert seen == names
    assert [s.batch_id for s, _ in await ledger.settlements(since=started + 2000)] == ["b", "d"]
    assert await ledger.settlements(after="unknown") == []


async def test_settlements_of_accounts_that_share_ids_are_all_found(ledger, make, clock):
    for account in ("a", "b"):
        await make.settle(ledger, await make.record(ledger, account, make.batch("same")))
        clock.advance(1)
    first = (await ledger.settlements(limit=1))[0][0]
    rest = await ledger.settlements(after=f"{first.account}\x1f{first.batch_id}")
    assert [(s.account, s.batch_id) for s, _ in rest] == [("b", "same")]


async def test_a_transaction_that_fails_leaves_nothing(ledger, make):
    tracked = await make.record(ledger, loggers=["file"])
    claim = await ledger.claim("openai", tracked.batch_id, owner="w", lease_seconds=60)
    final = tracked.batch.model_copy(update={"status": "completed"})
    taken = make.created("openai", tracked.batch)  # an event id that exists
    with pytest.raises(LedgerError):
        await ledger.settle(claim, make.settlement("openai", final), {}, taken)
    assert await ledger.settlement(tracked.batch_id) is None
    assert (await ledger.get_batch(tracked.batch_id)).settled_at is None
    assert len(await ledger.events()) == 1
    assert await make.settle_claim(ledger, claim) is True


async def test_settled_at_the_same_time_each_is_whole_and_fails_alone(ledger, make):
    for number in range(20):
        await make.record(ledger, batch=make.batch(f"b{number}"), loggers=["file"] if number else [])
    await make.subscribe(ledger, ["otel"])
    claims = await ledger.claim_due(owner="w", limit=20, lease_seconds=60)
    bad = claims[7]
    final = bad.tracked.batch.model_copy(update={"status": "completed"})
    taken = make.created("openai", bad.tracked.batch)  # an event id that exists
    outcomes = await asyncio.gather(
        *(make.settle_claim(ledger, claim, loggers=["otel"]) for claim in claims if claim is not bad),
        ledger.settle(bad, make.settlement("openai", final), {}, taken),
        make.settle_claim(ledger, replace(claims[3], token=claims[3].token - 1)),
        make.settle_claim(ledger, claims[3]),
        return_exceptions=True,
    )
    assert outcomes[:19] == [True] * 19
    assert isinstance(outcomes[19], LedgerError)
    assert outcomes[20:] == [False, False]
    assert (await ledger.get_batch("b7")).settled_at is None
    endings = await ledger.events(types=["batch_success"])
    assert [stored.event.batch_id for stored in endings] == [f"b{number}" for number in range(20) if number != 7]
    loggers = {stored.event.batch_id: set() for stored in endings}
    for delivery in await ledger.deliveries():
        if delivery.stored.event.type == "batch_success":
            loggers[delivery.stored.event.batch_id].add(delivery.logger)
    assert loggers == {f"b{n}": {"file", "otel"} if n else {"otel"} for n in range(20) if n != 7}


async def test_giving_up_before_its_turn_settles_nothing_and_blocks_nobody(ledger, make):
    for number in range(3):
        await make.record(ledger, batch=make.batch(f"b{number}"))
    claims = await ledger.claim_due(owner="w", limit=3, lease_seconds=60)
    first, second, third = (asyncio.create_task(make.settle_claim(ledger, claim)) for claim in claims)
    await asyncio.sleep(0)  # all have asked
    second.cancel()
    assert await asyncio.gather(first, second, third, return_exceptions=True) == [True, ANY, True]
    assert second.cancelled()
    assert (await ledger.get_batch("b1")).settled_at is None
    assert await make.settle_claim(ledger, claims[1]) is True


async def test_events_are_filtered_and_paged(ledger, make, clock):
    first = await make.record(ledger, batch=make.batch("b1"))
    clock.advance(10)
    await make.record(ledger, batch=make.batch("b2"))
    await make.settle(ledger, first, "expired")
    kinds = [(e.event.type, e.event.batch_id) for e in await ledger.events()]
    assert kinds == [("acreate_batch", "b1"), ("acreate_batch", "b2"), ("batch_failure", "b1")]
    assert [e.event.batch_id for e in await ledger.events(types=["acreate_batch"])] == ["b1", "b2"]
    assert await ledger.events(types=[]) == []
    assert [e.event.type for e in await ledger.events(batch_id="b1")] == ["acreate_batch", "batch_failure"]
    assert [e.event.batch_id for e in await ledger.events(since=clock.now)] == ["b2", "b1"]
    page = await ledger.events(limit=2)
    assert [e.event.type for e in await ledger.events(after=page[-1].seq)] == ["batch_failure"]


async def test_a_follower_of_events_misses_none_while_many_write(ledger, open_another, make):
    writers = [ledger, await open_another(), await open_another()]
    seen, done = [], asyncio.Event()

    async def follow():
        after = 0
        while True:
            last_round = done.is_set()
            page = await ledger.events(after=after)
            seen.extend(stored.event.batch_id for stored in page)
            after = page[-1].seq if page else after
            if last_round and not page:
                return
            await asyncio.sleep(0)

    async def write(number):
        for _ in range(15):
            await make.record(writers[number % 3])

    follower = asyncio.create_task(follow())
    await asyncio.gather(*(write(number) for number in range(6)))
    done.set()
    await follower
    assert len(seen) == len(set(seen)) == 90


async def test_stats_count(ledger, make, clock):
    await make.record(ledger, "a", make.batch("b1"), due_in=5)
    await make.record(ledger, "a", make.batch("b2"), due_in=50)
    await make.settle(ledger, await make.record(ledger, "b", make.batch("b3")))
    clock.advance(6)
    stats = await Access(ledger).stats()
    assert (stats["batches"], stats["open"], stats["overdue"]) == (3, 2, 1)
    assert stats["accounts"] == {"a": {"in_progress": 2}, "b": {"completed": 1}}
    assert stats["events"] == {"acreate_batch": 3, "batch_success": 1}
    assert stats["schema_version"] >= 1
