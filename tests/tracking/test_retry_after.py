"""Retry-After from a stranger: capped, said once, and only its own account waits."""

import logging
from types import SimpleNamespace

import pytest

from batchmeter.cli.ledger_check import check
from batchmeter.errors import APIStatusError, RateLimitError
from batchmeter.ledger.records import Reschedule
from batchmeter.providers import next_try
from batchmeter.tracker.schedule import TrackerOptions

FAR = ["99999999999", "1e17", "1e308", "Fri, 31 Dec 9999 23:59:59 GMT"]
SENSELESS = [
    "nan",
    "inf",
    "-inf",
    "-5",
    "Fri, 31 Dec 99999 23:59:59 GMT",
    f"Fri, 31 Dec {'9' * 30} 23:59:59 GMT",
    "soon",
]


def limited(text):
    return RateLimitError("slow down", status_code=429, headers={"retry-after": text})


@pytest.mark.parametrize("text", SENSELESS)
def test_senseless_retry_after_asks_for_nothing(text):
    assert not APIStatusError("no", status_code=503, headers={"retry-after": text}).retry_after


@pytest.mark.parametrize("text", [*FAR, *SENSELESS])
async def test_far_retry_after_waits_an_hour_at_most(world, text, caplog):
    caplog.set_level(logging.WARNING, "batchmeter")
    strict, other = world.provider("strict"), world.provider("other")
    strict.batches = {f"batch_{n}": [limited(text), world.batch(f"batch_{n}")] for n in range(3)}
    other.batches["batch_9"] = [world.batch("batch_9")]
    for n in range(3):
        await world.submitted(f"batch_{n}", "strict")
    await world.submitted("batch_9", "other")
    tracker, began = world.tracker(), world.clock.now

    await world.until_settled(tracker, "batch_9")
    assert world.clock.now - began < 60_000, "another account waits for nothing"
    assert (await check(world.ledger)).sound
    while len(await world.endings()) < 4:
        world.clock.advance(600)
        await tracker.once()
    assert world.clock.now - began < 4 * 3600 * 1000
    told = [record for record in caplog.messages if "longest_pause" in record]
    assert len(told) == (1 if text in FAR else 0), told


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": ["7", "9"]}, 7),
        ({"Retry-After": "7"}, 7),
        ({"retry-after": b"7"}, 7),
        ({"retry-after": 7}, 7),
        ({"retry-after-ms": [b"500"], "retry-after": "7"}, 0.5),
        ({"retry-after": ["Fri, 31 Dec 1999 23:59:59 GMT"]}, 0),
        ({"retry-after": []}, None),
        ({"retry-after": {"seconds": 7}}, None),
        ({"retry-after": None}, None),
        ({"retry-after-ms": object()}, None),
    ],
)
def test_retry_after_of_any_type_is_read_or_nothing(headers, seconds):
    """A provider of somebody else's hands on the headers as its HTTP library has them."""
    assert RateLimitError("slow down", status_code=429, headers=headers).retry_after == seconds


class OddNumber:
    def __float__(self):
        raise ZeroDivisionError


class StrangerError(Exception):
    def __init__(self, retry_after):
        super().__init__("slow down")
        self.retry_after = retry_after


@pytest.mark.parametrize("asked", [["7"], "7", b"x", {}, OddNumber(), float("nan"), None, 10**400])
async def test_pause_of_a_stranger_s_error_costs_no_look(world, asked):
    provider = world.provider()
    provider.batches["batch_1"] = [StrangerError(asked), world.batch()]
    await world.submitted()
    assert (await world.until_settled(world.tracker())).type == "batch_success"


@pytest.mark.parametrize(
    ("patience", "pause", "at"),
    [
        (60, 5, 5_000),
        (60, "5", 5_000),
        ("60", 5, 5_000),
        (60, -5, 0),
        (60, 61, None),
        (60, ["5"], None),
        (60, 10**400, None),
        ([], 5, None),
        (None, 5, None),
    ],
)
def test_queue_pause_of_any_type_is_a_time_or_none(patience, pause, at):
    queue = SimpleNamespace(queue_patience=patience, queue_pause=lambda said, attempt: pause)
    assert next_try(queue, limited("1"), 0, since=0, ended=0) == at


async def test_longest_pause_is_a_setting(world):
    provider = world.provider()
    provider.batches["batch_1"] = [limited("99999999999"), world.batch()]
    await world.submitted()
    began = world.clock.now
    await world.until_settled(world.tracker(options=TrackerOptions(longest_pause=7200.0)))
    assert 7200 <= (world.clock.now - began) / 1000 < 9000


async def test_ledger_check_finds_far_looks(world):
    await world.submitted()
    claim = await world.ledger.claim("openai", "batch_1", owner="me", lease_seconds=60)
    assert claim is not None
    await world.ledger.reschedule([Reschedule(claim, world.clock.now + 99999999999000)])
    health = await check(world.ledger)
    assert [(what.partition(" (")[0], count) for what, count in health.wrong.items()] == [
        ("batches whose next look is more than a week away", 1)
    ]
