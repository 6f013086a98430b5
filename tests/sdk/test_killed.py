"""Processes killed with SIGKILL at the worst moments lose nothing and repeat nothing."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.warm_python import WARM

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.ledger import open_ledger
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.sandbox import serve_sandbox

SUBMIT = """
import batchmeter
file = batchmeter.create_file(file={path!r}, purpose="batch")
batchmeter.create_batch(
    input_file_id=file.id, endpoint="/v1/chat/completions", metadata={{"team": "search"}}, attribution={{"user": "u1"}}
)
"""
SUBMIT_AND_WAIT = """
import batchmeter
batch = batchmeter.create_batch(input_file_id={file_id!r}, endpoint="/v1/chat/completions")
print(batch.id, flush=True)
batchmeter.wait_batch(batch.id)
"""


class Gate:
    """Stands between a client and the sandbox, and holds back the answer to the request that matches."""

    def __init__(self, url: str, request: bytes) -> None:
        self.port = int(url.rpartition(":")[2].partition("/")[0])
        self.request = request
        self.answered = asyncio.Event()
        """The sandbox has done it; its answer is held."""
        self.release = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self.port)
        held = False

        async def forward() -> None:
            nonlocal held
            while data := await reader.read(65536):
                held = held or data.startswith(self.request)
                upstream.write(data)
                await upstream.drain()

        async def back() -> None:
            while data := await upstream_reader.read(65536):
                if held:
                    self.answered.set()
                    await self.release.wait()
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(forward()), asyncio.create_task(back())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in (upstream, writer):
            each.close()


@asynccontextmanager
async def gate(url: str, request: bytes) -> AsyncIterator[tuple[str, Gate]]:
    held = Gate(url, request)
    server = await asyncio.start_server(held.handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", held
    finally:
        server.close()


async def child(script: str, url: str, ledger: Path) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": url,
        "BATCHMETER_LEDGER": str(ledger),
        "BATCHMETER_TRACK": "0",
    }
    return await asyncio.create_subprocess_exec(WARM, "-c", script, env=environment, stdout=asyncio.subprocess.PIPE)


def client(url: str, ledger: Path, log: Recorder, *, seconds_later: float = 0) -> AsyncClient:
    """As started some time after: what is reconciled is what has been open for a minute."""
    settings = Settings(
        track=False, load=(), accounts={"openai": {"api_key": "sk-test", "api_base": url}}
    )  # fmt: skip
    opened = open_ledger(str(ledger), clock=lambda: int((time.time() + seconds_later) * 1000))
    return AsyncClient(settings=settings, ledger=opened, plugins=[log], environ={})


async def test_a_batch_killed_before_its_record_is_found_and_settled_once(
    tmp_path: Path, requests: Path, log: Recorder
) -> None:
    ledger = tmp_path / "ledger.db"
    async with serve_sandbox() as sandbox, gate(sandbox.url, b"POST /v1/batches") as (url, held):
        # The gate has the sandbox's own address in its place: the account is the same for both processes.
        process = await child(SUBMIT.format(path=str(requests)), url, ledger)
        async with asyncio.timeout(30):
            await held.answered.wait()
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        async with client(sandbox.url, ledger, log, seconds_later=61) as later:
            assert await later.ledger.list_batches() == []
            assert await later.tracker.rounds["lost_creates"]() == 1
            (tracked,) = await later.ledger.list_batches()
            await later.batches.wait(tracked.batch_id)
            assert await later.tracker.rounds["lost_creates"]() == 0
            assert len(await later.batches.list()) == 1
    assert log.types == ["acreate_batch", "batch_success"]
    assert [event.metadata for event in log.events] == [{"team": "search"}] * 2
    assert [event.attribution.user for event in log.events] == ["u1"] * 2
    assert [event.adopted for event in log.events] == [False, False]


async def test_a_power_cut_since_the_call_loses_no_batch_and_no_event_twice(
    tmp_path: Path, requests: Path, log: Recorder
) -> None:
    """A submission is synced to the disk once, before its call: what is written after it may go with the power."""
    ledger, restored = tmp_path / "ledger.db", tmp_path / "restored.db"
    after = Recorder()
    async with serve_sandbox() as sandbox, gate(sandbox.url, b"POST /v1/batches") as (url, held):
        async with client(url, ledger, log) as first:
            file = await first.files.create(file=requests)
            creating = asyncio.create_task(
                first.batches.create(
                    input_file_id=file.id, endpoint="/v1/chat/completions", metadata={"team": "search"}
                )
            )
            async with asyncio.timeout(30):
                await held.answered.wait()
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{ledger}{suffix}", f"{restored}{suffix}")
            held.release.set()
            batch = await creating
        async with client(url, restored, after, seconds_later=61) as later:
            assert await later.ledger.list_batches() == []
            assert await later.tracker.rounds["lost_creates"]() == 1
            await later.batches.wait(batch.id)
    assert [event.id for event in log.events] == [event.id for event in after.events[:1]], "loggers see one by its id"
    assert after.types == ["acreate_batch", "batch_success"]
    assert after.events[0].metadata == {"team": "search"}


async def test_killed_while_its_output_is_read_another_process_settles_once(
    tmp_path: Path, requests: Path, log: Recorder
) -> None:
    ledger = tmp_path / "ledger.db"
    async with serve_sandbox() as sandbox:
        async with client(sandbox.url, ledger, log) as first:
            file = await first.files.create(file=requests)
        async with gate(sandbox.url, b"GET /v1/files/") as (url, held):
            process = await child(SUBMIT_AND_WAIT.format(file_id=file.id), url, ledger)
            async with asyncio.timeout(30):
                await held.answered.wait()
            process.send_signal(signal.SIGKILL)
            out, _ = await process.communicate()
        batch_id = out.decode().strip()
        async with client(sandbox.url, ledger, log, seconds_later=300) as later:
            assert await later.batches.settlement(batch_id) is None
            summary = await later.tracker.once()
            assert summary.settled == 1
            settlement = await later.batches.settlement(batch_id)
            assert settlement is not None
            assert settlement.usage.output_tokens == (await sandbox.engine.totals(batch_id)).usage.output_tokens
            assert (await later.tracker.once()).settled == 0
    assert log.types == ["acreate_batch", "batch_success"], "owed since the first client opened the ledger"
