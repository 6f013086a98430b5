"""Tracking inside the app: a lifespan, a WSGI process, a forked worker; all with BATCHMETER_TRACK=0."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.warm_python import WARM

import batchmeter
from batchmeter.testing.sandbox import Sandbox

COMPLETIONS = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def default_client(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OPENAI_BASE_URL", sandbox.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("BATCHMETER_TRACK", "0")
    yield
    batchmeter.close()


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    """Set when a batch_success is delivered in this process."""
    event = threading.Event()

    def hear(_: batchmeter.BatchSucceeded) -> None:
        event.set()

    batchmeter.on("batch_success", name="ended")(hear)
    yield event
    batchmeter.off(hear)


def make_due(batch: batchmeter.Batch) -> None:
    """As if the time of its next look had come."""

    async def wake(client: batchmeter.AsyncClient) -> None:
        await client.ledger.wake("openai", batch.id)
        client.tracker.notify()

    from batchmeter.faces import api

    api.engine.call(wake)


def trackers() -> list[str]:
    """Names of the tracker's tasks in the default client's loop."""

    async def look() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "batchmeter tracker"]

    from batchmeter.faces import api

    return api.engine.call(lambda _: look())


async def test_a_lifespan(requests: bytes, ended: threading.Event) -> None:
    async with batchmeter.tracking():
        file = await batchmeter.acreate_file(file=requests)
        make_due(await batchmeter.acreate_batch(input_file_id=file.id, endpoint=COMPLETIONS))
        assert await asyncio.to_thread(ended.wait, 20)
        async with batchmeter.tracking():
            pass
        assert trackers() == ["batchmeter tracker"], "one per process, and the inner block does not end it"
    assert not [thread for thread in threading.enumerate() if thread.name == "batchmeter"]
    assert trackers() == []


async def test_a_lifespan_over_a_client_of_the_app_s_own_loop(
    requests: bytes, ended: threading.Event, tmp_path: Path
) -> None:
    client = batchmeter.AsyncClient(ledger=tmp_path / "own.db")
    async with batchmeter.tracking(client):
        file = await client.files.create(file=requests)
        batch = await client.batches.create(input_file_id=file.id, endpoint=COMPLETIONS)
        await client.ledger.wake("openai", batch.id)
        client.tracker.notify()
        assert await asyncio.to_thread(ended.wait, 20)
    assert not client.is_open
    async with client:
        async with batchmeter.tracking(client):
            assert client.loop is asyncio.get_running_loop()
        assert client.is_open


def test_without_a_loop(requests: bytes, ended: threading.Event) -> None:
    for _ in range(3):
        batchmeter.start_tracking()
    assert trackers() == ["batchmeter tracker"]
    file = batchmeter.create_file(file=requests)
    make_due(batchmeter.create_batch(input_file_id=file.id, endpoint=COMPLETIONS))
    assert ended.wait(20)


def test_it_settles_what_an_earlier_process_left(requests: bytes, ended: threading.Event) -> None:
    file = batchmeter.create_file(file=requests)
    make_due(batchmeter.create_batch(input_file_id=file.id, endpoint=COMPLETIONS))
    assert trackers() == []
    batchmeter.close()
    assert not ended.is_set()
    batchmeter.start_tracking()
    assert ended.wait(20)


FORKING = """
import os, threading
import batchmeter

batchmeter.start_tracking()          # gunicorn --preload, Celery's parent

child = os.fork()
if child == 0:
    ended = threading.Event()
    batchmeter.on("batch_success", name="child")(lambda event: ended.set())
    file = batchmeter.create_file(file={requests!r})
    batch = batchmeter.create_batch(input_file_id=file.id, endpoint="/v1/chat/completions")
    settled = batchmeter.wait_batch(batch.id)
    batchmeter.close()
    os._exit(0 if settled.status == "completed" and ended.is_set() else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
batchmeter.close()
raise SystemExit(code)
"""
HOLDING = """
import os, threading
import batchmeter
from batchmeter.faces import api

batchmeter.list_batches()
api.engine._lock.acquire()           # another thread is just about to use it, at the moment of the fork
child = os.fork()
if child == 0:
    os._exit(0 if batchmeter.list_batches().data == [] else 1)
api.engine._lock.release()
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
OWN = """
import os
import batchmeter

with batchmeter.Client() as client:
    client.batches.list()
    child = os.fork()
    if child == 0:
        os._exit(0 if client.batches.list().data == [] else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert client.batches.list().data == []
raise SystemExit(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("script", [FORKING, HOLDING, OWN], ids=["tracking", "locked", "own client"])
def test_forks(script: str, requests: bytes, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(requests)
    done = subprocess.run(
        [WARM, "-c", script.replace("{requests!r}", repr(str(path)))],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_the_function_is_not_hidden_by_the_package_of_its_name() -> None:
    code = "import batchmeter.tracker.tracker, batchmeter; assert callable(batchmeter.tracking)"
    subprocess.run([WARM, "-c", code], check=True)
