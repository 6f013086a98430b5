"""Everything at once: random trouble, several trackers and deliverers, each batch ends once and each logger knows."""

import asyncio
import random

import pytest
from tests.heavy import heavy

from batchmeter.errors import APIConnectionError, APIResponseError, NotFoundError


def scripted(world, chance, name, number):
    """One batch's story, and whether its cost can be known at its end."""
    lines = world.line("a") + world.line("b")
    trouble = [
        world.rate_limited(chance.randint(1, 100)),
        world.broken(),
        APIConnectionError("cut"),
        APIResponseError("html"),
        NotFoundError("not there yet", status_code=404),
        world.batch(name, "in_progress"),
        world.batch(name, "finalizing"),
        world.batch(name, output_file_id=None),
    ]
    bad_downloads = [(lines[:-10], len(lines)), lines[:90], world.broken(), NotFoundError("gone", status_code=404)]
    status = chance.choice(["completed", "completed", "expired", "cancelled", "failed"])
    out = f"out-{name}"
    end = world.batch(name, status, output_file_id=out, request_counts={"total": 2, "completed": 2, "failed": 0})
    story = [chance.choice(trouble) for _ in range(chance.randint(0, 5))]
    downloads = chance.sample(bad_downloads, chance.randint(0, 2))  # the same cut twice is believed: lines are missing
    return [*story, end], {out: [*downloads, lines]}, status


@pytest.mark.parametrize("seed", range(heavy(12, 1)))
async def test_every_batch_ends_exactly_once_whatever_happens(world, seed):
    chance = random.Random(seed)
    provider, keeper = world.provider(), world.logger()
    keeper.trouble = [chance.choice([None, RuntimeError("down"), None]) for _ in range(60)]
    expected = {}
    for number in range(40):
        name = f"batch_{number}"
        provider.batches[name], files, expected[name] = scripted(world, chance, name, number)
        provider.files |= files
        await world.submitted(name)
    trackers = [world.tracker(random=chance.random) for _ in range(3)]
    deliverers = [world.deliverer() for _ in range(2)]

    for _ in range(400):
        await asyncio.gather(
            *(tracker.once() for tracker in trackers),
            *(deliverer.drain(10) for deliverer in deliverers),
            *(_retrieve(provider, chance.choice(trackers), f"batch_{chance.randrange(40)}") for _ in range(2)),
        )
        await asyncio.gather(*(tracker.idle() for tracker in trackers))
        world.clock.advance(chance.choice([1, 10, 60]))
        if not await world.ledger.list_batches(settled=False):
            break
    for _ in range(30):
        await deliverers[0].drain(10)
        world.clock.advance(600)

    endings = await world.endings()
    assert {event.batch_id: event.status for event in endings} == expected
    assert len(endings) == 40
    assert {str(event.cost.total) for event in endings} <= {"0.00021", "None"}
    assert sum(event.cost.total is None for event in endings if event.status == "completed") == 0
    assert sorted(event.id for event in keeper.events) == sorted(
        stored.event.id for stored in await world.ledger.events()
    )


async def _retrieve(provider, tracker, name):
    """A client that looks at its batch."""
    newest = provider.batches[name][-1]
    if len(provider.batches[name]) == 1:
        await tracker.observed("openai", newest)
