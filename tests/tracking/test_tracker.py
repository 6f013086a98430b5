"""The loop: troubled accounts, other workers, restarts, people who wait."""

import asyncio
from pathlib import Path

import pytest
from tests.warm_python import WARM

from batchmeter.calls.waiting import wait_for
from batchmeter.errors import (
    AuthenticationError,
)
from batchmeter.ledger import open_ledger
from batchmeter.tracker.schedule import TrackerOptions


async def test_a_rate_limit_pauses_the_whole_account_for_as_long_as_it_asks(world):
    provider = world.provider()
    for number in range(5):
        await world.submitted(f"batch_{number}")
        provider.batches[f"batch_{number}"] = [world.batch(f"batch_{number}")]
    provider.batches["batch_0"].insert(0, world.rate_limited(90))
    tracker = world.tracker()
    world.clock.advance(0.001)

    await tracker.once()
    asked = provider.count("retrieve")
    await world.submitted("batch_5")
    provider.batches["batch_5"] = [world.batch("batch_5")]
    world.clock.advance(88)
    summary = await tracker.once()

    assert provider.count("retrieve") == asked
    assert summary.claimed == 0
    world.clock.advance(30)
    for number in range(6):
        await world.until_settled(tracker, f"batch_{number}")


async def test_a_failing_account_slows_no_other_and_says_why(world):
    good, bad = world.provider("good"), world.provider("bad")
    for number in range(20):
        await world.submitted(f"bad_{number}", "bad")
        bad.batches[f"bad_{number}"] = [AuthenticationError("wrong key", status_code=401)]
    await world.submitted("batch_1", "good")
    good.batches["batch_1"] = [world.batch()]
    tracker = world.tracker()

    await tracker.once()

    assert [event.batch_id for event in await world.endings()] == ["batch_1"]
    assert bad.count("retrieve") <= 8
    tracked = await world.ledger.get_batch("bad_19", "bad")
    assert tracked.last_error == "AuthenticationError: wrong key"
    world.clock.advance(3600)
    before = bad.count("retrieve")
    await tracker.once()
    assert bad.count("retrieve") == before + 1, "an account in doubt is probed with one request"


async def test_a_hanging_account_slows_no_other(world):
    good, bad = world.provider("good"), world.provider("bad")
    never = asyncio.Event()
    bad.retrieve_batch = lambda batch_id, options: never.wait()
    await world.submitted("bad_1", "bad")
    await world.submitted("batch_1", "good")
    good.batches["batch_1"] = [world.batch()]
    tracker = world.tracker(sleep=asyncio.sleep)
    running = asyncio.create_task(tracker.run())

    settlement = await asyncio.wait_for(wait_for(tracker, "good", "batch_1"), 10)

    assert settlement.status == "completed"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    claim = await world.ledger.claim("bad", "bad_1", owner="next", lease_seconds=60)
    assert claim is not None, "what was under way when the tracker stopped is given back"


async def test_batches_of_an_account_that_is_not_configured_here_are_left_alone(world):
    world.provider()
    await world.submitted("theirs", "their-azure")
    tracker = world.tracker()
    tracker.notify("their-azure")
    await tracker.once()
    tracked = await world.ledger.get_batch("theirs")
    assert (tracked.settled_at, tracked.error_count) == (None, 0)
    assert await world.ledger.claim("their-azure", "theirs", owner="them", lease_seconds=60) is not None


async def test_a_tracker_runs_until_cancelled_and_wakes_for_what_is_new(world):
    provider = world.provider()
    tracker = world.tracker(sleep=lambda seconds: asyncio.sleep(60))
    running = asyncio.create_task(tracker.run())
    for number in range(3):
        await world.submitted(f"batch_{number}")
        provider.batches[f"batch_{number}"] = [world.batch(f"batch_{number}")]
        world.clock.advance(1)
        tracker.notify()
        settlement = await asyncio.wait_for(wait_for(tracker, "openai", f"batch_{number}"), 10)
        assert settlement.status == "completed"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_ledger_that_is_away_ends_no_tracker(world, tmp_path, caplog):
    ledger = open_ledger(str(tmp_path / "ledger.db"), clock=world.clock)
    await ledger.open()
    world.ledger = ledger
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    await ledger.aclose()
    naps, tried = [], asyncio.Event()

    async def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 6:
            await ledger.open()
            tried.set()
        if len(naps) > 6:
            world.clock.advance(seconds)
        await asyncio.sleep(0)

    tracker = world.tracker(sleep=sleep)
    running = asyncio.create_task(tracker.run())
    await tried.wait()
    settlement = await asyncio.wait_for(wait_for(tracker, "openai", "batch_1"), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await ledger.aclose()
    assert settlement.status == "completed"
    assert "tracker:" in caplog.text


async def test_a_tracker_stopped_before_settlement_leaves_it_to_the_next(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    reached, never = asyncio.Event(), asyncio.Event()

    async def stop_here():
        reached.set()
        await never.wait()

    provider.before_content = stop_here
    first = asyncio.create_task(world.tracker().run())
    await asyncio.wait_for(reached.wait(), 10)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await world.endings() == []

    provider.before_content = None
    event = await world.until_settled(world.tracker())
    assert event.type == "batch_success"


async def test_a_tracker_that_lost_its_lease_settles_nothing(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    slow, quick = world.tracker(), world.tracker()

    async def overtaken():
        provider.before_content = None
        world.clock.advance(1000)
        await quick.once()

    provider.before_content = overtaken
    summary = await slow.once()

    assert summary.settled == 0
    assert len(await world.endings()) == 1


WORKER = """
import asyncio, sys
from batchmeter.accounts import Accounts
from batchmeter.config import Settings
from batchmeter.ledger import open_ledger
from batchmeter.plugins import Plugins
from batchmeter.pricebook.book import PriceBook
from batchmeter.tracker.schedule import TrackerOptions
from batchmeter.tracker.tracker import Tracker

async def hang(provider, tracked, batch, files):
    async with files[0].open() as content:
        async for _ in content.chunks:
            print("downloading", flush=True)
            await asyncio.sleep(600)

async def main():
    ledger = open_ledger(sys.argv[1])
    await ledger.open()
    accounts = Accounts(Settings(accounts={"box": {"provider": "openai", "api_base": sys.argv[2], "api_key": "k"}}), plugins())
    await Tracker(ledger, accounts, plugins(), PriceBook(), meter=hang, options=TrackerOptions(lease=0.5)).run()

def plugins():
    return Plugins.load(Settings(load=()))

asyncio.run(main())
"""


async def test_a_worker_killed_while_it_settles_is_replaced_when_its_lease_ends(tmp_path: Path):
    from batchmeter import AsyncClient
    from batchmeter.testing.sandbox import serve_sandbox

    path = str(tmp_path / "shared.db")
    async with serve_sandbox() as sandbox:
        accounts = {"box": {"provider": "openai", "api_base": sandbox.url, "api_key": "k"}}
        async with AsyncClient(ledger=path, accounts=accounts, track=False) as client:
            request = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}}\n'
            file = await client.files.create(file=("in.jsonl", request), purpose="batch", custom_llm_provider="box")
            batch = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider="box"
            )
            await client.ledger.wake("box", batch.id)
            worker = await asyncio.create_subprocess_exec(
                WARM, "-c", WORKER, path, sandbox.url, stdout=asyncio.subprocess.PIPE
            )
            assert worker.stdout is not None
            assert await asyncio.wait_for(worker.stdout.readline(), 30) == b"downloading\n"
            worker.kill()
            await worker.wait()

            client.tracker.poller.sleep = lambda seconds: asyncio.sleep(seconds / 10)  # else it looks once a second
            settlement = await client.batches.wait(batch.id, custom_llm_provider="box", timeout=30)
            assert settlement.status == "completed"
            assert settlement.cost.total is not None
            events = await client.ledger.events(batch_id=batch.id)
            assert [stored.event.type for stored in events] == ["acreate_batch", "batch_success"]


async def test_many_due_batches_are_served_in_one_pass(world):
    provider = world.provider()
    for number in range(70):
        await world.submitted(f"batch_{number}")
        provider.batches[f"batch_{number}"] = [world.batch(f"batch_{number}")]
    summary = await world.tracker(options=TrackerOptions(block=30)).once()
    assert (summary.claimed, summary.settled, summary.errors) == (70, 70, 0)
    assert len({event.id for event in await world.endings()}) == 70


async def test_the_leases_of_all_that_wait_for_their_turn_are_kept_together(world):
    provider = world.provider()
    for number in range(30):
        await world.submitted(f"batch_{number}")
        provider.batches[f"batch_{number}"] = [world.batch(f"batch_{number}")]
    renewals, taken, kept, renew = [], [], asyncio.Event(), world.ledger.renew

    async def watched(held, *, lease_seconds):
        renewals.append(len(held))
        renewed = await renew(held, lease_seconds=lease_seconds)
        kept.set()
        return renewed

    async def long():
        if len(renewals) < 5:
            world.clock.advance(0.25)
            kept.clear()
            await kept.wait()
            taken.extend(await world.ledger.claim_due(owner="other", limit=100, lease_seconds=60))

    world.ledger.renew = watched
    provider.before_content = long
    summary = await world.tracker(options=TrackerOptions(lease=0.3, downloads=1)).once()
    assert (summary.claimed, summary.settled, taken) == (30, 30, [])
    assert max(renewals) == 30
