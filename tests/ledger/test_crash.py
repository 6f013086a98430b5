"""Workers are killed at random moments: nothing is lost, nothing is settled twice."""

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path

from tests.warm_python import WARM

from batchmeter.ledger import open_ledger

WORKER = Path(__file__).with_name("crash_worker.py")
BATCHES = 40
KILLS = 3


async def start(url, log):
    process = await asyncio.create_subprocess_exec(WARM, str(WORKER), url, str(log), stdout=asyncio.subprocess.PIPE)
    assert await process.stdout.readline() == b"ready\n"
    return process


async def stop(process):
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


async def done(ledger):
    if await ledger.next_due_at() is not None:
        return False
    return await ledger.next_delivery_at(["file"]) is None


async def test_workers_killed_at_random_lose_and_double_nothing(url, make, tmp_path):
    make.clock.now = 1_000_000_000_000  # long overdue by the workers' own clock
    ledger = open_ledger(url, clock=make.clock)
    await ledger.open()
    for number in range(BATCHES):
        await make.record(ledger, f"account{number % 3}")
    log = tmp_path / "seen.log"
    chance = random.Random(7)
    workers = [await start(url, log), await start(url, log)]
    try:
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.0, 0.12))  # the random moment is the point
            await stop(workers.pop(0))
            workers.append(await start(url, log))
        async with asyncio.timeout(60):
            while not await done(ledger):  # noqa: ASYNC110 - other processes finish it
                await asyncio.sleep(0.05)
    finally:
        for worker in workers:
            await stop(worker)
    events = await ledger.events(limit=10 * BATCHES)
    assert Counter(stored.event.type for stored in events) == {"acreate_batch": BATCHES, "batch_success": BATCHES}
    assert len({stored.event.id for stored in events}) == 2 * BATCHES
    assert len(await ledger.settlements(limit=10 * BATCHES)) == BATCHES
    assert {d.state for d in await ledger.deliveries(limit=10 * BATCHES)} == {"delivered"}
    seen = log.read_text().split()
    assert set(seen) >= {stored.event.id for stored in events}
    assert len(seen) <= 2 * BATCHES + KILLS * 5, "only what a killed worker held is delivered again"
    await ledger.aclose()
