"""Every way a batch can end, and that each ends once, with what it cost."""

import asyncio
import dataclasses
from decimal import Decimal

import pytest

from batchmeter.calls.waiting import wait_for
from batchmeter.errors import APIConnectionError, APIResponseError, AuthenticationError, NotFoundError
from batchmeter.events import EVENT, event_id
from batchmeter.models import BatchUsage

COST = Decimal("0.00021")
"""Two lines of 1000 tokens in at $0.075/M and 100 out at $0.30/M."""


def gone(what):
    return NotFoundError(f"no {what}", status_code=404)


async def test_a_completed_batch_ends_once_with_its_cost(world):
    provider = world.provider()
    keeper = world.logger()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(status="in_progress"), world.batch(metadata={"batchmeter_id": "i"})]

    event = await world.until_settled(world.tracker())

    assert event.type == "batch_success"
    assert event.id == event_id("openai", "batch_1", "batch_success")
    assert event.cost.total == COST
    assert event.usage.input_tokens == 2000
    assert event.request_counts.succeeded == 2
    assert event.models["gpt-4o-mini"].cost == COST
    assert (event.times.queue_seconds, event.times.run_seconds, event.times.total_seconds) == (10, 90, 100)
    assert event.metadata == {"team": "search"}
    assert event.batch.metadata is None
    assert event.notes == ()
    assert event.cost.priced_at.isoformat() == "2026-09-21"
    await world.deliverer().drain(5)
    assert keeper.types == ["acreate_batch", "batch_success"]


async def test_whoever_sees_the_end_the_batch_settles_once(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    trackers = [world.tracker() for _ in range(4)]

    await asyncio.gather(
        *(tracker.once() for tracker in trackers),
        *(tracker.observed("openai", world.batch()) for tracker in trackers),
        *(wait_for(tracker, "openai", "batch_1") for tracker in trackers),
    )
    await asyncio.gather(*(tracker.once() for tracker in trackers))

    assert [event.type for event in await world.endings()] == ["batch_success"]
    assert provider.count("content") == 1


async def test_a_cancel_shown_while_it_settles_ends_it_once(world):
    provider, other = world.provider(), world.tracker()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]

    async def cancel():
        for status in ("cancelling", "cancelled"):
            await other.shown(provider, world.batch(status=status, output_file_id="out"))

    provider.before_content = cancel
    await world.tracker().once()
    await other.once()
    assert [event.status for event in await world.endings()] == ["completed"]


async def test_a_retrieve_by_anyone_settles_without_another_look(world):
    provider = world.provider()
    await world.submitted()
    tracker = world.tracker()
    world.clock.advance(1)
    await tracker.observed("openai", world.batch())
    await tracker.idle()
    assert await world.ledger.settlement("batch_1") is not None
    assert provider.count("retrieve") == 0


async def test_an_end_is_not_taken_back_by_a_lagging_replica(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [
        world.batch(output_file_id=None),
        world.batch(status="in_progress"),
        world.batch(output_file_id=None),
        world.batch(),
    ]
    event = await world.until_settled(world.tracker())
    assert event.cost.total == COST


async def test_an_output_id_that_lags_is_waited_for(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(output_file_id=None)] * 3 + [world.batch()]
    event = await world.until_settled(world.tracker())
    assert event.cost.total == COST
    assert provider.count("retrieve") == 4


async def test_an_output_that_is_never_listed_costs_an_unknown_sum(world):
    provider = world.provider()
    await world.submitted()
    usage = BatchUsage(input_tokens=2000, output_tokens=200, total_tokens=2200)
    provider.batches["batch_1"] = [world.batch(output_file_id=None, usage=usage, model="gpt-4o-mini")]
    started = world.clock.now

    event = await world.until_settled(world.tracker())

    assert 600 <= (world.clock.now - started) / 1000 < 1200
    assert event.type == "batch_success"
    assert event.cost.total is None
    assert event.cost.unknown == {"output_unavailable": 2}
    assert event.usage.input_tokens == 2000
    assert event.models["gpt-4o-mini"].usage.output_tokens == 200
    assert event.notes == ("output_unavailable",)


async def test_a_batch_whose_lines_all_failed_costs_zero_and_is_final_at_once(world):
    provider = world.provider()
    await world.submitted()
    counts = {"total": 2, "completed": 0, "failed": 2}
    provider.batches["batch_1"] = [world.batch(output_file_id=None, error_file_id="err", request_counts=counts)]
    provider.files["err"] = [world.error_line("a") + world.error_line("b")]
    tracker = world.tracker()
    await tracker.once()
    (event,) = await world.endings()
    assert event.cost.total == 0
    assert event.request_counts.failed == 2


async def test_a_batch_that_failed_validation_costs_zero(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(status="failed", failed_at=1_790_000_030)]
    await world.tracker().once()
    (event,) = await world.endings()
    assert (event.type, event.status, event.cost.total) == ("batch_failure", "failed", 0)
    assert event.times.total_seconds == 30


@pytest.mark.parametrize("status", ["expired", "cancelled", "failed"])
async def test_what_finished_before_a_bad_end_is_billed(world, status):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [
        world.batch(status=status, output_file_id="part", error_file_id="err", request_counts={"total": 3})
    ]
    provider.files |= {"part": [world.line("a")], "err": [world.error_line("b") + world.error_line("c")]}
    await world.tracker().once()
    (event,) = await world.endings()
    assert (event.type, event.status) == ("batch_failure", status)
    assert event.cost.total == COST / 2
    assert (event.request_counts.succeeded, event.request_counts.failed) == (1, 2)


async def test_a_file_that_is_gone_for_good_ends_with_an_unknown_cost(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [gone("out")]
    event = await world.until_settled(world.tracker())
    assert event.cost.total is None
    assert event.cost.unknown == {"output_unavailable": 2}
    assert provider.count("content") >= 4


async def test_a_file_that_comes_back_is_metered(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [gone("out"), gone("out"), world.line("a") + world.line("b")]
    event = await world.until_settled(world.tracker())
    assert event.cost.total == COST


async def test_a_lost_error_file_leaves_the_cost_whole(world):
    provider = world.provider()
    await world.submitted()
    counts = {"total": 3, "completed": 2, "failed": 1}
    provider.batches["batch_1"] = [world.batch(error_file_id="err", request_counts=counts)]
    event = await world.until_settled(world.tracker())
    assert event.cost.total == COST
    assert event.notes == ("errors_unavailable",)


@pytest.mark.parametrize(
    "trouble",
    [
        lambda world: (world.line("a"), 10_000),
        lambda world: (world.line("a") * 3, 100),
        lambda world: APIConnectionError("cut"),
        lambda world: APIResponseError("a login page"),
        lambda world: world.broken(),
        lambda world: ValueError("a bug in a provider"),
        lambda world: world.line("a"),
        lambda world: world.line("a") + world.line("b")[:-30],
    ],
    ids=["cut short", "too long", "connection", "html", "5xx", "bug", "cut between lines", "cut inside a line"],
)
async def test_nothing_settles_on_a_broken_download(world, trouble):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [trouble(world), world.line("a") + world.line("b")]
    event = await world.until_settled(world.tracker())
    assert event.cost.total == COST
    assert event.notes == ()


async def test_lines_that_stay_missing_are_noted(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [world.line("a")]
    event = await world.until_settled(world.tracker())
    assert event.cost.total is None
    assert event.cost.known == COST / 2
    assert event.cost.unknown == {"lines_missing": 1}
    assert event.notes == ("lines_missing",)


async def test_lines_that_nobody_ran_are_noted_and_cost_nothing(world):
    provider = world.provider()
    await world.submitted()
    counts = {"total": 3, "completed": 2, "failed": 0}
    provider.batches["batch_1"] = [world.batch(request_counts=counts)]
    event = await world.until_settled(world.tracker())
    assert event.cost.total == COST
    assert event.notes == ("lines_missing",)


async def test_an_empty_error_file_is_no_answer_where_counts_are_null(world):
    provider = world.provider()
    await world.submitted()
    counts = {"total": 2, "completed": None, "failed": None}
    lagging = world.batch(output_file_id="", error_file_id="err", request_counts=counts)
    provider.batches["batch_1"] = [lagging, lagging, world.batch(error_file_id="err", request_counts=counts)]
    provider.files["err"] = [b""]
    event = await world.until_settled(world.tracker())
    assert event.cost.total == COST


async def test_a_download_that_never_works_ends_after_days_unknown(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [(world.line("a"), 10_000)]
    started = world.clock.now
    event = await world.until_settled(world.tracker(), most=2000)
    assert (world.clock.now - started) / 1000 >= 7 * 86400
    assert event.cost.total is None
    assert event.cost.unknown == {"output_unavailable": 2}


async def test_a_batch_its_provider_forgot_ends_as_failed_and_unknown(world):
    provider = world.provider()
    await world.submitted()
    started = world.clock.now
    event = await world.until_settled(world.tracker(), most=2000)
    assert (world.clock.now - started) / 1000 >= 86400 + 3600
    assert (event.type, event.status) == ("batch_failure", "failed")
    assert event.cost.total is None
    assert event.notes == ("batch_unavailable",)
    assert provider.count("retrieve") < 500


async def test_a_difference_to_the_providers_own_sums_is_noted(world):
    provider = world.provider()
    await world.submitted()
    usage = BatchUsage(input_tokens=2001, output_tokens=200, total_tokens=2201)
    provider.batches["batch_1"] = [world.batch(usage=usage)]
    event = await world.until_settled(world.tracker())
    assert event.notes == ("usage_mismatch",)
    assert event.reported_usage.input_tokens == 2001
    assert event.usage.input_tokens == 2000


async def test_an_unknown_model_is_an_unknown_cost(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [world.line("a") + world.line("b", model="nobody-knows-1")]
    event = await world.until_settled(world.tracker())
    assert event.cost.total is None
    assert event.cost.known == COST / 2
    assert event.request_counts.unpriced == 1


async def test_an_event_reads_back_from_its_bytes_as_it_was(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    event = await world.until_settled(world.tracker())
    stored = (await world.ledger.events())[-1]
    assert EVENT.validate_json(stored.payload) == event


async def test_a_refused_key_at_the_download_is_waited_out(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [
        *[AuthenticationError("no", status_code=401)] * 40,
        world.line("a") + world.line("b"),
    ]
    event = await world.until_settled(world.tracker())
    assert event.cost.total == COST


async def test_one_of_two_lost_output_files_leaves_a_lower_bound(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(output_file_id="out", error_file_id="more")]
    plain = provider.outputs

    async def shards(batch):
        first, second = await plain(batch)
        return [first, dataclasses.replace(second, kind="output")]

    provider.outputs = shards
    provider.files["out"] = [world.line("a")]
    event = await world.until_settled(world.tracker())
    assert event.cost.total is None
    assert event.cost.known == COST / 2
    assert event.cost.unknown == {"output_unavailable": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "completed", "request_counts": None},
        {"status": "expired", "usage": BatchUsage(input_tokens=1000, total_tokens=1000)},
        {"status": "cancelled", "request_counts": {"total": 2, "completed": 1}},
    ],
    ids=["nothing said", "usage without a file", "answers without a file"],
)
async def test_an_end_that_shows_answers_but_no_file_is_not_final_yet(world, fields):
    provider = world.provider()
    await world.submitted()
    lagging = world.batch(output_file_id=None, **fields)
    provider.batches["batch_1"] = [lagging, lagging.model_copy(update={"output_file_id": "out"})]
    tracker = world.tracker()
    assert (await tracker.once()).put_off == 1
    tracked = await world.ledger.get_batch("batch_1")
    assert tracked.last_error.startswith("output_not_listed: look 1 since 2026-09-2")
    event = await world.until_settled(tracker)
    assert event.cost.total == COST


async def test_an_answer_that_stays_unreadable_is_an_unknown_cost(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [world.line("a") + b'{"custom_id": "b", "resp\n']
    event = await world.until_settled(world.tracker())
    assert (event.cost.total, event.cost.known) == (None, COST / 2)
    assert event.cost.unknown == {"lines_malformed": 1}
    assert event.request_counts.malformed == 1


@pytest.mark.parametrize(
    ("fields", "unknown"),
    [
        ({"request_counts": None}, {"lines_malformed": 1}),
        ({"status": "cancelled", "output_file_id": "out", "request_counts": {"total": 2}}, {"lines_malformed": 1}),
        ({"request_counts": {"total": 5, "completed": 4}}, {"lines_malformed": 1, "lines_missing": 2}),
        ({"request_counts": {"total": 2, "completed": 1, "failed": 1}}, {}),
    ],
    ids=["nothing counted", "counts of a cancelled batch", "more is missing", "a failed one"],
)
async def test_a_line_that_cannot_be_read_may_be_an_answer_unless_all_are_there(world, fields, unknown):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(**fields)]
    provider.files["out"] = [world.line("a") + b'{"custom_id": "b", "resp\n']
    event = await world.until_settled(world.tracker())
    assert (event.cost.known, event.cost.unknown) == (COST / 2, unknown)
    assert event.cost.total == (None if unknown else COST / 2)


async def test_all_unreadable_lines_are_not_waited_for_like_a_late_output(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch()]
    provider.files["out"] = [b"{cut\n{off\n"]
    before = world.clock.now
    event = await world.until_settled(world.tracker())
    assert event.request_counts.malformed == 2
    assert (event.cost.total, event.cost.unknown) == (None, {"lines_malformed": 2})
    assert world.clock.now - before < 120_000
