"""Events to loggers that raise, hang, reject, ask for patience, or work: each gets everything, none disturbs another."""

import asyncio
import contextlib
import logging
import threading
import time

import pytest

from batchmeter import hook_calls
from batchmeter.errors import AuthenticationError, Rejected, RetryLater
from batchmeter.hookspecs import hookimpl


async def ended(world, *batch_ids):
    """Batches with both their events in the ledger."""
    provider = world.provider()
    for batch_id in batch_ids or ["batch_1"]:
        await world.submitted(batch_id)
        provider.batches[batch_id] = [world.batch(batch_id)]
    await world.tracker().once()


async def drained(world, deliverer, *, most=400):
    """Passes of the deliverer, the clock moved to the next due moment, until nothing is pending."""
    for _ in range(most):
        assert await deliverer.drain(10)
        due = await world.ledger.next_delivery_at(list(world.plugins.loggers))
        if due is None:
            return
        world.clock.now = max(world.clock.now + 60_000, due)
    raise AssertionError("deliveries are still pending")


async def states(world, logger="keeper"):
    return [delivery.state for delivery in await world.ledger.deliveries(logger=logger)]


async def test_every_logger_gets_every_event_in_order(world):
    keepers = [world.logger(f"keeper-{number}") for number in range(3)]
    await ended(world, "batch_1", "batch_2")
    await drained(world, world.deliverer())
    for keeper in keepers:
        assert sorted((event.batch_id, event.type) for event in keeper.events) == [
            ("batch_1", "acreate_batch"),
            ("batch_1", "batch_success"),
            ("batch_2", "acreate_batch"),
            ("batch_2", "batch_success"),
        ]
        for batch_id in ("batch_1", "batch_2"):
            mine = [event.type for event in keeper.events if event.batch_id == batch_id]
            assert mine == ["acreate_batch", "batch_success"]


async def test_a_raising_logger_gets_it_again_byte_for_byte_and_delays_no_other(world):
    fine, keeper = world.logger("fine"), world.logger()
    tried = []

    class Raising:
        @hookimpl
        async def batch_success(self, event):
            tried.append(event.model_dump_json())
            if len(tried) < 4:
                raise RuntimeError("the backend is down")

    world.plugins.register(Raising(), "raising")
    await ended(world)
    deliverer = world.deliverer()
    await deliverer.drain(10)
    assert fine.types == keeper.types == ["acreate_batch", "batch_success"]
    assert len(tried) == 1
    (waiting,) = await world.ledger.deliveries(logger="raising")
    assert (waiting.state, waiting.last_error) == ("pending", "RuntimeError: the backend is down")

    await drained(world, deliverer)
    assert len(tried) == 4
    assert len(set(tried)) == 1
    assert tried[0].encode() == (await world.ledger.events(types=["batch_success"]))[0].payload
    assert await states(world, "raising") == ["delivered"]


async def test_an_ending_waits_for_the_same_batchs_creation(world):
    keeper = world.logger()
    keeper.trouble = [RuntimeError("first time")]
    await ended(world)
    await world.deliverer().drain(10)
    assert keeper.types == []
    await drained(world, world.deliverer())
    assert keeper.types == ["acreate_batch", "batch_success"]


async def test_a_rejected_event_is_dead_and_holds_nothing_up(world):
    keeper = world.logger()
    keeper.trouble = [Rejected("too large")]
    await ended(world)
    await drained(world, world.deliverer())
    assert keeper.types == ["batch_success"]
    (dead,) = await world.ledger.deliveries(logger="keeper", state="dead")
    assert dead.last_error == "Rejected: too large"
    await world.ledger.replay("keeper", dead_only=True)
    await drained(world, world.deliverer())
    assert keeper.types == ["batch_success", "acreate_batch"]


async def test_retry_later_is_obeyed_to_the_second(world):
    keeper = world.logger()
    keeper.trouble = [RetryLater("busy", after=777)]
    await ended(world)
    deliverer = world.deliverer()
    await deliverer.drain(10)
    world.clock.advance(776)
    await deliverer.drain(10)
    assert keeper.tries == 1
    world.clock.advance(1)
    await deliverer.drain(10)
    assert keeper.types == ["acreate_batch", "batch_success"]


@pytest.mark.parametrize(
    ("after", "pause"),
    [("7", 7), ("Fri, 31 Dec 1999 23:59:59 GMT", 1), (10**400, 3600), (float("nan"), 1), (-5, 0), ([], 1)],
    ids=["text", "date", "huge", "nan", "negative", "list"],
)
async def test_pause_that_is_no_number_costs_its_event_alone(world, after, pause):
    """A plugin may hand on what its backend sent."""
    keeper = world.logger()
    keeper.trouble = [RetryLater("busy", after=after)]
    await ended(world)
    deliverer = world.deliverer()
    await deliverer.drain(10)
    (first, *_) = await world.ledger.deliveries(logger="keeper")
    assert (first.attempts, first.last_error) == (1 if pause else 2, "RetryLater: busy" if pause else None)
    world.clock.advance(pause + 1)
    await deliverer.drain(10)
    assert keeper.types == ["acreate_batch", "batch_success"]


@pytest.mark.parametrize("status", [["401"], "401", {}, 401.5])
async def test_status_that_is_no_number_costs_its_event_alone(world, status):
    error = RuntimeError("no")
    error.status_code = status
    keeper = world.logger()
    keeper.trouble = [error]
    await ended(world)
    deliverer = world.deliverer()
    await deliverer.drain(10)
    world.clock.advance(10)
    await deliverer.drain(10)
    assert keeper.types == ["acreate_batch", "batch_success"]


async def test_a_hanging_logger_is_given_up_and_delays_no_other(world):
    fine, keeper = world.logger("fine"), world.logger()
    never = asyncio.Event()
    keeper.trouble = [never.wait]
    await ended(world)
    deliverer = world.deliverer(timeout=0.5)
    running = asyncio.create_task(deliverer.run())
    await fine.has(2)
    await drained(world, deliverer)
    assert keeper.types == ["acreate_batch", "batch_success"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_calls_that_ignore_cancellation_are_left_behind_three_at_most(world, monkeypatch):
    monkeypatch.setattr(hook_calls, "GRACE_SECONDS", 0.01)
    keeper = world.logger()
    free = asyncio.Event()

    async def stubborn():
        while not free.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await free.wait()

    keeper.trouble = [stubborn] * 50
    await ended(world, *(f"batch_{number}" for number in range(10)))
    deliverer = world.deliverer(timeout=0.01, at_a_time=1, block=4, threshold=99)
    for _ in range(5):
        await deliverer.drain(20)
        world.clock.advance(3600)
    assert 3 <= keeper.tries <= 4
    keeper.trouble.clear()
    free.set()
    await asyncio.sleep(0.01)
    await drained(world, deliverer)
    assert set(await states(world)) == {"delivered"}


@pytest.mark.parametrize("refused", [AuthenticationError("bad key", status_code=401), "httpx"])
async def test_refused_credentials_pause_a_logger_with_one_warning(world, refused, caplog):
    if refused == "httpx":
        import httpx

        request = httpx.Request("POST", "http://backend/")
        refused = httpx.HTTPStatusError("no", request=request, response=httpx.Response(403, request=request))
    keeper = world.logger()
    keeper.trouble = [*[refused] * 30, RuntimeError("a hiccup of the mended backend")]
    await ended(world, "batch_1", "batch_2")
    with caplog.at_level(logging.WARNING, "batchmeter"):
        await drained(world, world.deliverer(at_a_time=1, attempts=5))
    assert keeper.tries == 31 + 4
    assert set(await states(world)) == {"delivered"}
    assert len([record for record in caplog.records if "IS PAUSED" in record.message]) == 1


async def test_an_event_is_dead_only_after_days_of_failures(world):
    keeper = world.logger()
    keeper.trouble = [RuntimeError("never works")] * 1000
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(status="in_progress")]
    started = world.clock.now
    await drained(world, world.deliverer(), most=1000)
    assert await states(world) == ["dead"]
    assert keeper.tries == 100
    assert (world.clock.now - started) / 1000 > 2 * 86400


async def test_a_dead_backend_is_probed_not_hammered(world):
    keeper = world.logger()
    keeper.trouble = [RuntimeError("down")] * 10_000
    await ended(world, *(f"batch_{number}" for number in range(45)))
    deliverer = world.deliverer()
    for _ in range(60):
        world.clock.advance(60)
        await deliverer.drain(10)
    assert keeper.tries < 40, "an hour's outage"
    keeper.trouble.clear()
    await drained(world, deliverer)
    assert len({event.id for event in keeper.events}) == 90


@pytest.mark.parametrize("thrown", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_nothing_a_logger_throws_gets_out(world, thrown):
    fine, keeper = world.logger("fine"), world.logger()
    keeper.trouble = [thrown]
    await ended(world)
    await drained(world, world.deliverer())
    assert fine.types == keeper.types == ["acreate_batch", "batch_success"]


async def test_redaction_comes_first_and_its_failure_sends_nothing(world):
    keeper = world.logger()
    failing = [RuntimeError("cannot redact")]

    class Redactor:
        @hookimpl
        def redact(self, event):
            if failing:
                raise failing.pop()
            return event.model_copy(update={"metadata": {}})

    world.plugins.register(Redactor(), "redactor")
    await ended(world)
    await drained(world, world.deliverer())
    assert [event.metadata for event in keeper.events] == [{}, {}]
    assert keeper.tries == 2


async def test_plain_functions_get_one_event_at_a_time(world):
    alone, seen = threading.Lock(), []

    class Plain:
        @hookimpl
        def acreate_batch(self, event):
            assert alone.acquire(blocking=False)
            time.sleep(0.002)
            seen.append(event.id)
            alone.release()

    world.plugins.register(Plain(), "plain")
    await ended(world, *(f"batch_{number}" for number in range(20)))
    await world.deliverer().drain(10)
    assert len(set(seen)) == len(seen) == 20


async def test_draining_is_bounded_and_gives_back_what_is_under_way(world):
    keeper = world.logger()
    never = asyncio.Event()
    keeper.trouble = [never.wait]
    await ended(world)
    assert await world.deliverer().drain(0.05) is False
    (delivery,) = await world.ledger.claim_deliveries("keeper", owner="next", limit=10, lease_seconds=60)
    assert delivery.stored.event.type == "acreate_batch"


async def test_a_running_deliverer_wakes_for_new_events_and_new_loggers(world):
    keeper = world.logger()
    deliverer = world.deliverer()
    deliverer._sleep = lambda seconds: asyncio.sleep(60)
    running = asyncio.create_task(deliverer.run())
    await asyncio.sleep(0)
    await world.submitted()
    deliverer.notify()
    await keeper.has(1)
    late = world.logger("late")
    await ended(world, "batch_2")
    deliverer.notify()
    await late.has(2)
    assert late.types == ["acreate_batch", "batch_success"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_two_deliverers_share_the_work_without_doubling_it(world):
    keeper = world.logger()
    await ended(world, *(f"batch_{number}" for number in range(60)))
    await asyncio.gather(*(world.deliverer(block=7).drain(10) for _ in range(3)))
    await drained(world, world.deliverer())
    assert len(keeper.events) == 120
    assert len({event.id for event in keeper.events}) == 120


async def test_closing_while_loggers_are_looked_up_ends_all_lanes(world):
    world.logger("keeper")
    deliverer = world.deliverer()
    running = asyncio.create_task(deliverer.run())
    await asyncio.sleep(0)  # it asks the ledger, and has no lane yet
    deliverer.close()
    async with asyncio.timeout(30):
        await running
