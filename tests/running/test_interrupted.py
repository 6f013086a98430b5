"""A run that is interrupted at any moment is taken up by the same call at once, and its batch is submitted once."""

import gc
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.heavy import heavy
from tests.interrupts import Interrupt, at_every_step
from tests.warm_python import WARM

import batchmeter
from batchmeter import AsyncClient
from batchmeter.errors import CreateUnknownError
from batchmeter.ledger import open_ledger
from batchmeter.testing.sandbox import Sandbox, sandbox_thread, serve_sandbox

SLOW = {"sandbox": "slow=600"}
"""Answers that take ten minutes to come."""
RUNNING = f"import batchmeter; batchmeter.run(['hello'], model='gpt-5-mini', metadata={SLOW})"


def held(path: Path) -> list[str]:
    """Batches that somebody has claimed."""
    with closing(sqlite3.connect(path)) as ledger:
        return [row[0] for row in ledger.execute("SELECT batch_id FROM batch WHERE lease_until IS NOT NULL")]


async def test_run_interrupted_at_any_step_is_taken_up_at_once(tmp_path: Path) -> None:
    async with serve_sandbox(speed=1e12) as sandbox:
        accounts = {"openai": {"api_key": "sk-test", "api_base": sandbox.url}}

        def client(later: int) -> AsyncClient:
            """Of a process that begins so many seconds later."""
            ledger = open_ledger(str(tmp_path / "l.db"), clock=lambda: time.time_ns() // 1_000_000 + later * 1000)
            return AsyncClient(ledger=ledger, accounts=accounts, track=False, environ={})

        async with client(11) as second, client(1000) as tracker:
            asked = 0

            async def made() -> int:
                return len([batch async for batch in await second.batches.list(limit=100)])

            async def attempt(interrupt: Interrupt) -> None:
                nonlocal asked
                asked += 1
                question = [f"question {asked}"]
                async with client(0) as first:
                    await interrupt.cuts(batchmeter.arun(question, model="gpt-5-mini", using=first))
                assert held(tmp_path / "l.db") == [], interrupt
                try:
                    results = await batchmeter.arun(question, model="gpt-5-mini", using=second)
                except CreateUnknownError:  # in the call that creates the batch: the provider may have got it
                    (intent,) = await second.ledger.open_intents(created_before=second.ledger.now())
                    assert await made() == asked - 1, interrupt
                    await tracker.tracker.once()
                    assert await second.ledger.intent(intent.id)
                    results = await batchmeter.arun(question, model="gpt-5-mini", using=second)
                assert results.texts[0], interrupt
                assert await made() == asked, interrupt

            assert await at_every_step(attempt, short=7) > 20


class Signal(Interrupt):
    """Ctrl-C."""

    def strike(self, _: object = None) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, as in a program."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_blocking_run_interrupted_at_any_step_is_taken_up_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sandbox_thread(speed=1e12) as sandbox:
        accounts = {"openai": {"api_key": "sk-test", "api_base": sandbox.url}}
        where = {"ledger": str(tmp_path / "l.db"), "track": False, "accounts": accounts}
        with batchmeter.Client(**where) as other:
            ended, at = False, 1
            while not ended:
                interrupt, question = Signal(at), [f"question {at}"]
                with batchmeter.Client(**where) as client:
                    client.batches.list(limit=1)
                    loop = client.engine.loop
                    assert loop is not None
                    loop.call_soon_threadsafe(interrupt.watch, loop)
                    try:
                        batchmeter.run(question, model="gpt-5-mini", using=client)
                        loop.call_soon_threadsafe(loop.set_task_factory, None)
                        ended = interrupt.steps < at
                        client.batches.list(limit=1)  # a signal that comes late strikes here
                    except KeyboardInterrupt:
                        loop.call_soon_threadsafe(loop.set_task_factory, None)
                assert held(tmp_path / "l.db") == [], interrupt
                with suppress(CreateUnknownError):  # in the call that creates the batch
                    assert batchmeter.run(question, model="gpt-5-mini", using=other).texts[0]
                at += heavy(2, 9)
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def ledger_path() -> Path:
    return Path(os.environ["BATCHMETER_LEDGER"])


def test_process_interrupted_in_the_work_leaves_no_claim(sandbox: Sandbox) -> None:
    with batchmeter.Client(track=False) as client:
        client.batches.list()  # makes the ledger
    process = subprocess.Popen([WARM, "-c", RUNNING], stderr=subprocess.PIPE, text=True, env=os.environ)
    while not held(ledger_path()):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert "the batch goes on; the same call waits for it again" in told
    assert process.returncode == -signal.SIGINT
    assert held(ledger_path()) == []


async def test_client_closed_while_it_settles_leaves_no_claim(sandbox: Sandbox) -> None:
    """An end that a call was shown is settled also where nobody tracks."""
    async with AsyncClient(track=False) as client:
        line = b'{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"model":"text-embedding-3-small","input":"x"}}'
        file = await client.files.create(file=line, purpose="batch")
        batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", metadata=SLOW)
        while not (await client.batches.retrieve(batch.id)).ended:
            pass
        while not held(ledger_path()):
            await client.batches.retrieve(batch.id)
        await client.aclose(timeout=0)
    assert held(ledger_path()) == []
