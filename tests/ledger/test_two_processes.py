"""Two processes do the same at one moment: nothing is sent twice, and each gets the answer."""

import asyncio
import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

from tests.heavy import heavy
from tests.warm_python import WARM

from batchmeter import AsyncClient
from batchmeter.providers import CallOptions
from batchmeter.testing.sandbox import serve_sandbox

WORKER = Path(__file__).with_name("twin_worker.py")
MIXED = "outcome=expired done=0.5 fail=0.2"
"""Of twenty requests eight are answered, two fail, ten are never run."""
ROUNDS = heavy(12, 1)
ONLY = [
    (["failed"], ["expired", "failed"]),
    (["failed", "missing"], ["failed", "expired", "missing"]),
    (["expired"], ["failed"]),
    (["failed", "expired"], ["failed", "expired"]),
]
"""Reasons that each of the two asks for."""
LINE = '{{"custom_id":"r-{0}","method":"POST","url":"/v1/chat/completions","body":{{"model":"gpt-5-mini","messages":[{{"role":"user","content":"{0}"}}]}}}}\n'


class Twins:
    """The two processes."""

    def __init__(self, *arguments):
        command = [WARM, str(WORKER), *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": os.environ}
        self._processes = [subprocess.Popen(command, **pipes) for _ in range(2)]

    async def call(self, *calls):
        """Results of one call each, begun at one moment."""
        for process, call in zip(self._processes, calls, strict=True):
            process.stdin.write(json.dumps(call) + "\n")
        for process in self._processes:
            process.stdin.flush()
        return await self.answers()

    async def answers(self):
        lines = await asyncio.gather(*(asyncio.to_thread(process.stdout.readline) for process in self._processes))
        return [json.loads(line) for line in lines]

    def end(self):
        for process in self._processes:
            process.stdin.close()
        for process in self._processes:
            process.stdout.close()
            assert process.wait(30) == 0


@contextmanager
def twins(*arguments):
    made = Twins(*arguments)
    try:
        yield made
    finally:
        made.end()


async def batches(client):
    """Ids of the newest, without telling the ledger of them."""
    listed = await client.accounts.get("openai").list_batches(after=None, limit=100, options=CallOptions())
    return {batch.id for batch in listed.data}


async def inputs(client):
    return {file.id async for file in client.files.iterate(purpose="batch")}


async def test_two_processes_at_one_moment_do_it_once(url, tmp_path):
    async with serve_sandbox(speed=1e12) as sandbox:
        accounts = {"openai": {"api_key": "sk-test", "api_base": sandbox.url}}
        async with AsyncClient(ledger=url, accounts=accounts, track=False) as client:
            with twins(url, sandbox.url) as both:
                assert await both.answers() == ["ready", "ready"]
                await retries(client, both)
                await creates(client, both)
                await runs(client, both, tmp_path / "job.jsonl")


async def uploaded(client, count):
    content = "".join(LINE.format(number) for number in range(count)).encode()
    return (await client.files.create(file=content, purpose="batch")).id


async def retries(client, both):
    """Different `only` sets: no request is in two batches, and no input file is left over."""
    for number in range(heavy(12, 2)):
        mine, other = ONLY[number % len(ONLY)]
        file_id = await uploaded(client, 20)
        batch = await client.batches.create(
            input_file_id=file_id, endpoint="/v1/chat/completions", extra_headers={"x-sandbox-script": MIXED}
        )
        await client.batches.wait(batch.id)
        before, files = await batches(client), await inputs(client)
        done = await both.call(["retry", batch.id, mine], ["retry", batch.id, other])
        made = {batch_id: (source, count) for batch_id, source, count in done if count}
        assert await batches(client) - before == set(made), done
        assert await inputs(client) - files == {source for source, _ in made.values()}
        counts = {"failed": 2, "expired": 10, "missing": 0}
        assert sum(count for _, count in made.values()) == sum(counts[one] for one in {*mine, *other}), done


async def creates(client, both):
    """One idempotency key: one batch."""
    for number in range(ROUNDS):
        file_id, before = await uploaded(client, 1), await batches(client)
        one, other = await both.call(*[["create", file_id, f"key-{number}"]] * 2)
        assert one == other
        assert await batches(client) - before == {one[0]}
        (created,) = await client.ledger.events(batch_id=one[0], types=["acreate_batch"])
        assert created.event.attribution.team == f"key-{number}"


async def runs(client, both, path):
    """The same requests, by `run` and as a job: one batch and one input file, which both get."""
    for number in range(ROUNDS):
        path.write_text(LINE.format(f"job {number}"))
        for call in (["run", f"question {number}"], ["job", str(path)]):
            before, files = await batches(client), await inputs(client)
            one, other = await both.call(call, call)
            assert one == other
            assert await batches(client) - before == {one[0]}
            assert await inputs(client) - files == {one[1]}
