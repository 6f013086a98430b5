"""Workers that are killed at any moment, over one ledger file: nothing is lost, no batch ends twice."""

import asyncio
import itertools
import random
import sys
from pathlib import Path

from tests.warm_python import WARM

from batchmeter import AsyncClient
from batchmeter.testing.sandbox import serve_sandbox

WORKER = """
import asyncio, os, sys
from batchmeter.accounts import Accounts
from batchmeter.config import Settings
from batchmeter.hookspecs import hookimpl
from batchmeter.ledger import open_ledger
from batchmeter.plugins import Plugins
from batchmeter.pricebook.book import PriceBook
from batchmeter.tracker.deliver import Deliverer
from batchmeter.tracker.delivery_lane import LaneOptions
from batchmeter.tracker.schedule import TrackerOptions
from batchmeter.tracker.tracker import Tracker

ledger_path, url, log_path = sys.argv[1:]
log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

class Log:
    async def _write(self, event):
        os.write(log, f"{event.id} {event.batch_id} {event.type}\\n".encode())
        await asyncio.sleep(0.002)

    @hookimpl
    async def acreate_batch(self, event):
        await self._write(event)

    @hookimpl
    async def batch_success(self, event):
        await self._write(event)

async def main():
    ledger = open_ledger(ledger_path)
    await ledger.open()
    settings = Settings(load=(), accounts={"box": {"provider": "openai", "api_base": url, "api_key": "k"}})
    plugins = Plugins.load(settings)
    plugins.register(Log(), "log")
    deliverer = Deliverer(ledger, plugins, options=LaneOptions(lease=1.0, timeout=0.5, idle=0.2))
    options = TrackerOptions(lease=1.0, idle=0.2)
    tracker = Tracker(
        ledger, Accounts(settings, plugins), plugins, PriceBook(), options=options, on_event=deliverer.notify
    )
    print("started", flush=True)
    await asyncio.gather(tracker.run(), deliverer.run())

asyncio.run(main())
"""
REQUEST = (
    b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions",'
    b'"body":{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}}\n'
)
BATCHES = 40


async def test_killed_workers_lose_nothing_and_settle_nothing_twice(tmp_path: Path):
    path, log = str(tmp_path / "shared.db"), tmp_path / "log"
    chance = random.Random(1)
    async with serve_sandbox() as sandbox:
        accounts = {"box": {"provider": "openai", "api_base": sandbox.url, "api_key": "k"}}
        async with AsyncClient(ledger=path, accounts=accounts, track=False) as client:
            ids = await _submitted(client)
            await client.ledger.replay("log")  # a logger that only the workers have
            for kills in itertools.count(1):
                worker = await asyncio.create_subprocess_exec(
                    WARM, "-c", WORKER, path, sandbox.url, str(log), stdout=asyncio.subprocess.PIPE
                )
                assert worker.stdout is not None
                assert await asyncio.wait_for(worker.stdout.readline(), 30) == b"started\n"
                written = log.read_text().count("\n") if log.exists() else 0
                done = await _done(client, log, written + chance.randint(0, 30) if kills < 3 else sys.maxsize)
                worker.kill()
                await worker.communicate()
                if done:
                    break

            assert kills >= 2, "a worker was killed before it was done"
            events = [stored.event for stored in await client.ledger.events()]
            endings = [event.batch_id for event in events if event.type != "acreate_batch"]
            assert sorted(endings) == sorted(ids)
            written = [line.split() for line in log.read_text().splitlines()]
            assert {event_id for event_id, _, _ in written} == {event.id for event in events}
            assert len(written) < 2 * BATCHES * 1.5, "at least once, and seldom more"
            for batch_id in ids:
                kinds = [kind for _, owner, kind in written if owner == batch_id]
                assert kinds.index("acreate_batch") < kinds.index("batch_success")


async def _submitted(client):
    file = await client.files.create(file=("in.jsonl", REQUEST), purpose="batch", custom_llm_provider="box")
    ids = []
    for _ in range(BATCHES):
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider="box"
        )
        await client.ledger.wake("box", batch.id)
        ids.append(batch.id)
    return ids


async def _done(client, log, most):
    """Whether everything was settled and delivered before so many lines were written."""
    while not log.exists() or log.read_text().count("\n") <= most:
        gauges = {gauge.logger: gauge for gauge in await client.ledger.gauges()}
        if not await client.ledger.list_batches(settled=False) and gauges["log"].pending == 0:
            return True
        await asyncio.sleep(0.05)  # another process' work wakes nobody here
    return False
