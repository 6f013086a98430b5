"""Following batches: who holds which, until when, and what a hint or an observation does."""

import asyncio
from dataclasses import replace

import pytest

from batchmeter.ledger.records import Reschedule


async def claim_all(ledger, owner="w", limit=100, lease_seconds=30.0, accounts=None):
    return await ledger.claim_due(owner=owner, limit=limit, lease_seconds=lease_seconds, accounts=accounts)


def ids(claims):
    return [claim.tracked.batch_id for claim in claims]


async def test_due_batches_are_claimed_most_overdue_first(ledger, make, clock):
    for name, account, due_in in (("b1", "a", 3), ("b2", "b", 1), ("b3", "a", 2), ("b4", "b", 60)):
        await make.record(ledger, account, make.batch(name), due_in=due_in)
    assert await claim_all(ledger) == []
    assert await ledger.next_due_at() == clock.now + 1000
    clock.advance(10)
    assert ids(await claim_all(ledger, limit=2)) == ["b2", "b3"]
    assert ids(await claim_all(ledger)) == ["b1"]
    assert await claim_all(ledger) == []


async def test_the_order_holds_however_unequal_the_accounts_are(ledger, make, clock):
    began = clock.now
    due = {"big": [1, 2, 3, 4, 5, 6, 7, 20], "small": [5.5], "other": [0.5, 6.5, 8, 9, 30], "idle": [99]}
    for account, times in due.items():
        for due_in in times:
            await make.record(ledger, account, make.batch(f"{due_in:05.1f}"), due_in=due_in)
    clock.advance(50)
    expected = sorted(f"{due_in:05.1f}" for account, times in due.items() if account != "idle" for due_in in times)
    for limit in (1, 3, 7, 20):
        held = []
        while found := await claim_all(ledger, limit=limit):
            held += found
        assert ids(held) == expected, limit
        again = [Reschedule(one, began + round(1000 * float(one.tracked.batch_id))) for one in held]
        assert await ledger.reschedule(again) == len(expected)


async def test_claims_can_be_confined_to_accounts(ledger, make):
    for name in ("a", "b", "c"):
        await make.record(ledger, name, make.batch(name))
    assert await ledger.next_due_at(["unknown"]) is None
    assert ids(await claim_all(ledger, accounts=["unknown"])) == []
    assert ids(await claim_all(ledger, accounts=[])) == []
    assert ids(await claim_all(ledger, accounts=["c", "a", "c"])) == ["a", "c"]
    assert ids(await claim_all(ledger)) == ["b"]


async def test_a_lease_runs_out_and_its_old_holder_cannot_write(ledger, make, clock):
    await make.record(ledger)
    (old,) = await claim_all(ledger, lease_seconds=5)
    assert old.expires_at == clock.now + 5000
    clock.advance(5)
    (new,) = await claim_all(ledger, owner="v")
    assert new.token > old.token
    assert await ledger.renew([old, new], lease_seconds=30) == [replace(new, expires_at=clock.now + 30_000)]
    assert await ledger.reschedule([Reschedule(old, clock.now)]) == 0
    assert await make.settle_claim(ledger, old) is False
    assert await make.settle_claim(ledger, new) is True


async def test_an_expired_lease_that_nobody_took_over_still_counts(ledger, make, clock):
    await make.record(ledger)
    (claim,) = await claim_all(ledger, lease_seconds=5)
    clock.advance(60)
    assert await make.settle_claim(ledger, claim) is True


async def test_renewal_keeps_others_out(ledger, make, clock):
    tracked = await make.record(ledger)
    (claim,) = await claim_all(ledger, lease_seconds=5)
    clock.advance(4)
    (renewed,) = await ledger.renew([claim], lease_seconds=5)
    assert (renewed.token, renewed.expires_at) == (claim.token, clock.now + 5000)
    clock.advance(4)
    assert await claim_all(ledger) == []
    assert await ledger.claim(tracked.account, tracked.batch_id, owner="v", lease_seconds=1) is None
    assert await make.settle_claim(ledger, renewed) is True
    assert await ledger.renew([renewed], lease_seconds=5) == []


async def test_a_batch_looked_at_since_is_not_claimed_on_older_knowledge(ledger, make, clock):
    seen = await make.record(ledger)
    (claim,) = await claim_all(ledger)
    await ledger.reschedule([Reschedule(claim, clock.now + 2000, error="output_not_listed")])
    lease = {"owner": "v", "lease_seconds": 5}
    assert await ledger.claim("openai", seen.batch_id, **lease, polled=seen.poll_count) is None
    newest = await ledger.get_batch(seen.batch_id)
    assert await ledger.claim("openai", seen.batch_id, **lease, polled=newest.poll_count) is not None


async def test_one_batch_is_claimed_by_name_due_or_not(ledger, make, clock):
    tracked = await make.record(ledger, due_in=3600)
    assert await ledger.claim("openai", "unknown", owner="w", lease_seconds=5) is None
    assert await ledger.claim("azure", tracked.batch_id, owner="w", lease_seconds=5) is None
    claim = await ledger.claim("openai", tracked.batch_id, owner="w", lease_seconds=5)
    assert await ledger.claim("openai", tracked.batch_id, owner="w", lease_seconds=5) is None
    clock.advance(5)
    assert (await ledger.claim("openai", tracked.batch_id, owner="v", lease_seconds=5)).token > claim.token


async def test_rescheduling_stores_what_was_seen_and_counts(ledger, make, clock):
    tracked = await make.record(ledger, batch=make.batch("b1", "validating"))
    (claim,) = await claim_all(ledger)
    assert await ledger.reschedule([Reschedule(claim, clock.now + 9000, error="503")]) == 1
    assert await ledger.reschedule([Reschedule(claim, clock.now + 1)]) == 0, "a claim ends once"
    failed = await ledger.get_batch("b1")
    assert (failed.error_count, failed.last_error, failed.poll_count) == (1, "503", 1)
    assert (failed.batch, failed.next_poll_at, failed.last_polled_at) == (tracked.batch, clock.now + 9000, clock.now)
    clock.advance(9)
    (claim,) = await claim_all(ledger)
    assert claim.tracked.error_count == 1
    seen = make.batch("b1", "in_progress")
    assert await ledger.reschedule([Reschedule(claim, clock.now + 9000, seen)]) == 1
    good = await ledger.get_batch("b1")
    assert (good.batch, good.error_count, good.last_error, good.poll_count) == (seen, 0, None, 2)


async def test_many_claims_are_rescheduled_at_once(ledger, make, clock):
    for _ in range(20):
        await make.record(ledger)
    claims = await claim_all(ledger)
    await make.settle_claim(ledger, claims[3])
    assert await ledger.reschedule([Reschedule(claim, clock.now + 1000) for claim in claims]) == 19
    assert await ledger.reschedule([]) == 0
    clock.advance(1)
    assert len(await claim_all(ledger)) == 19


async def test_a_final_snapshot_makes_a_batch_due_and_no_open_one_replaces_it(ledger, make, clock):
    await make.record(ledger, batch=make.batch("b1"), due_in=600)
    final = make.batch("b1", "completed", output_file_id="out")
    assert (await ledger.observe("openai", final)).next_poll_at == clock.now
    assert (await ledger.observe("openai", make.batch("b1", "in_progress"))).batch == final
    assert (await ledger.get_batch("b1")).batch == final
    (claim,) = await claim_all(ledger)
    await ledger.reschedule([Reschedule(claim, clock.now + 5000, make.batch("b1", "finalizing"))])
    assert (await ledger.get_batch("b1")).batch == final
    assert await ledger.observe("openai", make.batch("unknown", "completed")) is None


async def test_an_open_snapshot_is_stored_without_changing_the_schedule(ledger, make, clock):
    await make.record(ledger, batch=make.batch("b1", "validating"), due_in=600)
    seen = await ledger.observe("openai", make.batch("b1", "finalizing"))
    assert (seen.batch.status, seen.next_poll_at) == ("finalizing", clock.now + 600_000)


async def test_the_same_final_snapshot_again_leaves_the_back_off_alone(ledger, make, clock):
    final = make.batch("b1", "completed")
    await make.record(ledger, batch=make.batch("b1"))
    await ledger.observe("openai", final)
    (claim,) = await claim_all(ledger)
    await ledger.reschedule([Reschedule(claim, clock.now + 30_000, final)])
    assert (await ledger.observe("openai", final)).next_poll_at == clock.now + 30_000
    with_output = make.batch("b1", "completed", output_file_id="out")
    assert (await ledger.observe("openai", with_output)).next_poll_at == clock.now


async def test_a_hint_during_a_lease_takes_effect_when_it_ends(ledger, make, clock):
    for hint in ("wake", "observe"):
        await make.record(ledger, batch=make.batch(hint))
        (claim,) = await claim_all(ledger)
        if hint == "wake":
            assert await ledger.wake("openai", hint) is True
        else:
            await ledger.observe("openai", make.batch(hint, "completed"))
        assert await claim_all(ledger) == [], "the holder is not robbed"
        await ledger.reschedule([Reschedule(claim, clock.now + 600_000)])
        assert (await ledger.get_batch(hint)).next_poll_at == clock.now
        await make.settle_claim(ledger, (await claim_all(ledger))[0])


async def test_waking(ledger, make, clock):
    tracked = await make.record(ledger, due_in=600)
    assert await ledger.wake("openai", "unknown") is False
    assert await ledger.wake("openai", tracked.batch_id) is True
    assert await ledger.next_due_at() == clock.now
    clock.advance(5)
    await ledger.wake("openai", tracked.batch_id)
    assert await ledger.next_due_at() == clock.now - 5000, "a batch keeps its place in the queue"
    await make.settle(ledger, tracked)
    assert await ledger.wake("openai", tracked.batch_id) is False
    assert await ledger.next_due_at() is None


async def test_observing_a_settled_batch_does_not_reopen_it(ledger, make):
    tracked = await make.record(ledger)
    await make.settle(ledger, tracked)
    seen = await ledger.observe("openai", make.batch(tracked.batch_id, "completed", output_file_id="late"))
    assert seen.batch.output_file_id == "late"
    assert seen.next_poll_at is None
    assert await claim_all(ledger) == []


async def test_workers_never_hold_the_same_batch(ledger, open_another, make):
    for number in range(60):
        await make.record(ledger, f"account{number % 3}")
    ledgers = [ledger, await open_another(), await open_another()]
    held = []

    async def work(number):
        while claims := await claim_all(ledgers[number % 3], owner=f"w{number}", limit=4):
            held.extend(ids(claims))

    await asyncio.gather(*(work(number) for number in range(6)))
    held.extend(ids(await claim_all(ledger)))  # a worker may stop early where all it saw was being taken by others
    assert len(held) == len(set(held)) == 60


async def test_endings_that_a_list_showed_are_observed_together(ledger, make, clock, attribution):
    for name in ("due", "later", "held", "known", "settled"):
        await make.record(ledger, batch=make.batch(name), due_in=50, attribution=attribution)
    final = {name: make.batch(name, "completed", output_file_id=f"out-{name}") for name in ("later", "held", "known")}
    held = await ledger.claim("openai", "held", owner="w", lease_seconds=60)
    await ledger.observe("openai", final["known"])
    tried = await ledger.claim("openai", "known", owner="w", lease_seconds=60)
    await ledger.reschedule([Reschedule(tried, clock.now + 30_000, error="output_not_listed")])
    await make.settle(ledger, await ledger.get_batch("settled"))
    shown = [*final.values(), make.batch("settled", "completed"), make.batch("unknown", "expired")]
    clock.advance(1)

    assert await ledger.observe_endings("openai", shown) == {"later", "held", "known"}
    assert await ledger.observe_endings("other", shown) == set()

    now = {name: await ledger.get_batch(name) for name in ("due", "later", "held", "known")}
    assert [tracked.batch.status for tracked in now.values()] == ["in_progress", *["completed"] * 3]
    assert now["later"].batch == final["later"]
    assert now["later"].next_poll_at == clock.now
    assert now["held"].next_poll_at == held.expires_at
    assert now["known"].next_poll_at == clock.now + 29_000, "the same ending again undoes no back-off"
    await ledger.reschedule([Reschedule(held, clock.now + 90_000)])
    assert (await ledger.get_batch("held")).next_poll_at == clock.now, "its holder looks again"
    assert (await ledger.owner_of("out-later")).attribution == attribution
    assert await ledger.owner_of("out-unknown") is None


@pytest.mark.parametrize(
    ("another", "news"),
    [
        ({"created_at": 7, "input_file_id": "file-other"}, False),
        ({"created_at": 7}, True),
        ({"input_file_id": "file-other"}, True),
        ({"created_at": None, "input_file_id": "file-other"}, True),
    ],
)
async def test_ending_of_another_batch_with_this_id_is_no_news(ledger, make, another, news):
    """A server that counts its ids from 1 again lists the new batch; ours is not settled with its answers."""
    first = make.batch("batch_1", "in_progress", created_at=1, input_file_id="file-1")
    await make.record(ledger, batch=first, due_in=50)
    shown = make.batch("batch_1", "completed", **{"created_at": 1, "input_file_id": "file-1", **another})
    await ledger.observe_endings("openai", [shown])
    assert (await ledger.get_batch("batch_1")).batch == (shown if news else first)


async def test_what_a_list_showed_open_is_put_off(ledger, make, clock):
    names = ("later", "sooner", "due", "held", "ended", "hinted")
    for name in names:
        await make.record(ledger, batch=make.batch(name), due_in={"later": 500, "due": 0}.get(name, 50))
    await ledger.claim("openai", "held", owner="w", lease_seconds=60)
    await ledger.observe("openai", make.batch("ended", "completed"))
    await ledger.wake("openai", "hinted")
    before = {name: (await ledger.get_batch(name)).next_poll_at for name in names}
    asked, at = clock.now, clock.now + 100_000
    clock.advance(1)
    looks = [(name, at) for name in (*names, "unknown")]
    assert await ledger.put_off("openai", looks, began=asked) == 1
    after = {name: (await ledger.get_batch(name)).next_poll_at for name in names}
    assert after == before | {"sooner": at}
    assert await ledger.put_off("openai", looks, began=clock.now) == 2, "due before the list was asked for"
    after = {name: (await ledger.get_batch(name)).next_poll_at for name in names}
    assert after == before | {"sooner": at, "due": at, "hinted": at}
    assert await ledger.put_off("other", [("sooner", at + 1)], began=clock.now) == 0
