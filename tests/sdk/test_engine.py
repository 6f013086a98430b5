"""The thread that sync calls run on: closing it, ending the interpreter, and plugins that try to end it."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.warm_python import WARM

import batchmeter
from batchmeter import AsyncClient
from batchmeter import plugins as plugins_module
from batchmeter.config import Settings
from batchmeter.errors import ClosedError
from batchmeter.testing.recorder import Recorder

ENDPOINT = "/v1/chat/completions"


def settings(speed: float = 100_000) -> Settings:
    return Settings(
        ledger=":memory:", track=False, load=(), default_account="sandbox", accounts={"sandbox": {"speed": speed}}
    )


@pytest.fixture
def slow() -> Iterator[batchmeter.Client]:
    with batchmeter.Client(settings=settings(speed=1), environ={}) as client:
        yield client


def submitted(client: batchmeter.Client, requests: Path) -> str:
    file = client.files.create(requests)
    return str(client.batches.create(endpoint=ENDPOINT, input_file_id=file.id).id)


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that are under way when a client closes get no second to end by themselves."""
    monkeypatch.setattr("batchmeter.faces.engine.GRACE_SECONDS", 0.05)


@pytest.mark.usefixtures("short_grace")
def test_closing_ends_a_wait_in_another_thread(slow: batchmeter.Client, requests: Path) -> None:
    batch_id, looked = submitted(slow, requests), threading.Event()
    ends: list[BaseException] = []

    def wait() -> None:
        try:
            slow.batches.wait(batch_id, on_update=lambda _: looked.set())
        except ClosedError as error:
            ends.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    looked.wait(10)
    slow.close()
    thread.join(10)
    assert not thread.is_alive()
    assert "batches go on" in str(ends[0])
    assert slow.batches.list().data == []  # it opens anew


@pytest.mark.usefixtures("short_grace")
async def test_closing_ends_a_wait_of_somebody_s_loop(slow: batchmeter.Client, requests: Path) -> None:
    batch_id, looked = await asyncio.to_thread(submitted, slow, requests), asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(_: object) -> None:
        loop.call_soon_threadsafe(looked.set)

    waiting = asyncio.ensure_future(slow.engine.acall(lambda inner: inner.batches.wait(batch_id, on_update=tell)))
    await looked.wait()
    await asyncio.to_thread(slow.close)
    with pytest.raises(ClosedError):
        await waiting


@pytest.mark.parametrize("opened", ["answers", "a file", "a streamed file"])
def test_what_was_being_read_ends_with_its_client(requests: Path, opened: str) -> None:
    """Reading on, and letting go of it, starts no thread and opens no ledger anew."""
    with batchmeter.Client(settings=settings(), environ={}) as client:
        batch_id = submitted(client, requests)
        file_id = client.batches.wait(batch_id).batch.output_file_id or ""
        with ExitStack() as stack:
            pieces: Iterator[object]
            if opened == "answers":
                pieces = client.batches.iter_results(batch_id)
            elif opened == "a file":
                pieces = stack.enter_context(client.files.stream(file_id))
            else:
                pieces = iter(client.files.content(file_id, stream=True, chunk_size=100))
            assert next(pieces)
            client.close()
            with pytest.raises(ClosedError):
                next(pieces)
        assert client.engine.loop is None
        assert len(client.files.list().data) == 0  # a call opens it anew


def test_a_call_that_is_nearly_done_is_let_through(slow: batchmeter.Client) -> None:
    begun, go = threading.Event(), asyncio.Event()

    async def nearly(_: AsyncClient) -> str:
        begun.set()
        await go.wait()
        return "done"

    call = slow.engine.post(nearly)
    begun.wait()
    loop = slow.engine.loop
    assert loop is not None
    threading.Timer(0.05, lambda: loop.call_soon_threadsafe(go.set)).start()
    slow.close()
    assert call.result(0) == "done"


def test_closing_from_within_is_refused(slow: batchmeter.Client) -> None:
    async def close(_: AsyncClient) -> None:
        slow.close()

    with pytest.raises(RuntimeError, match="inside its own event loop"):
        slow.engine.call(close)


EXIT = """
import sys, threading, batchmeter
from batchmeter.config import Settings
from batchmeter.faces import engine

engine.GRACE_SECONDS = 0.01  # a call that is not waited for is given up before its batch has ended
client = batchmeter.Client(
    settings=Settings(ledger=":memory:", load=(), default_account="sandbox", accounts={"sandbox": {"speed": 20_000}}),
    environ={},
)
looked = threading.Event()

def work():
    file = client.files.create(sys.argv[1])
    batch = client.batches.create(endpoint="/v1/chat/completions", input_file_id=file.id)
    print(client.batches.wait(batch.id, on_update=lambda _: looked.set()).status)
    print(len(client.batches.list().data))

%s
looked.wait()
"""
LATE = """
import threading, batchmeter

def late():
    threading.main_thread().join()
    try:
        batchmeter.list_batches()
    except batchmeter.errors.ClosedError as error:
        print(error)

threading.Thread(target=late).start()
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run([WARM, "-c", code, *arguments], capture_output=True, text=True, timeout=50, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    "start",
    [
        "threading.Thread(target=work).start()",
        "from concurrent.futures import ThreadPoolExecutor; ThreadPoolExecutor().submit(work)",
    ],
    ids=["thread", "pool"],
)
def test_the_interpreter_waits_for_calls_in_other_threads(requests: Path, start: str) -> None:
    assert run(EXIT % start, str(requests)).split() == ["completed", "1"]


def test_jobs_that_a_pool_has_not_begun_are_waited_for_too(requests: Path) -> None:
    start = """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
for job in (work, work, threading.Event().wait):
    pool.submit(job, *([0.1] if job is not work else []))
pool.submit(work)
"""
    assert run(EXIT % start, str(requests)).split() == ["completed", "1", "completed", "2", "completed", "3"]


def test_a_first_call_after_the_main_thread_s_end_says_so() -> None:
    assert "join your threads" in run(LATE)


class Exits:
    """Each hook tries to end the process."""

    @batchmeter.hookimpl
    async def startup(self) -> None:
        sys.exit("startup")

    @batchmeter.hookimpl
    async def shutdown(self) -> None:
        sys.exit("shutdown")


class ExitsAtPrices:
    @batchmeter.hookimpl
    def price_lines(self) -> None:
        sys.exit("prices")


@pytest.mark.parametrize("plugin", [Exits(), ExitsAtPrices()], ids=["hooks", "prices"])
def test_a_plugin_cannot_end_the_thread(requests: Path, plugin: object) -> None:
    with batchmeter.Client(settings=settings(), plugins=[plugin], environ={}) as client:
        settlement = client.batches.wait(submitted(client, requests))
        unpriced = isinstance(plugin, ExitsAtPrices)
        assert settlement.cost.unknown == ({"price_plugin_failed": 20} if unpriced else {})
        assert {info.name: info.state for info in client.plugins.info()}.get("Exits", "failed") == "failed"


def test_a_callback_that_exits_ends_its_caller_and_nobody_else(requests: Path) -> None:
    with batchmeter.Client(settings=settings(), environ={}) as client:
        batch_id = submitted(client, requests)
        with pytest.raises(SystemExit):
            client.batches.wait(batch_id, on_update=lambda _: sys.exit(2))
        assert client.batches.wait(batch_id).status == "completed"


class Hangs:
    def __init__(self) -> None:
        self.never = threading.Event()

    @batchmeter.hookimpl
    async def startup(self) -> None:
        await asyncio.Event().wait()

    @batchmeter.hookimpl
    def batch_success(self, event: batchmeter.BatchSucceeded) -> None:
        self.never.wait()


class HangsAtTheEnd:
    def __init__(self) -> None:
        self.never = threading.Event()

    @batchmeter.hookimpl
    def batch_success(self, event: batchmeter.BatchSucceeded) -> None:
        self.never.wait()

    @batchmeter.hookimpl
    async def shutdown(self) -> None:
        await asyncio.Event().wait()


async def test_a_startup_that_hangs_disables_its_plugin(
    monkeypatch: pytest.MonkeyPatch, log: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plugins_module, "STARTUP_SECONDS", 0.01)
    async with AsyncClient(settings=settings(), plugins=[Hangs(), log], environ={}) as client:
        states = {info.name: (info.state, info.reason) for info in client.plugins.info()}
        assert states[f"{__name__}.Hangs"] == ("failed", "TimeoutError: no answer in 0.01 s")
    assert "Hangs failed at startup" in caplog.text


async def test_one_bound_holds_for_all_of_closing(requests: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger and a plugin's shutdown that hang take their share of it, and not one each."""
    monkeypatch.setattr("batchmeter.runtime.runtime.SHUTDOWN_SECONDS", 0.1)
    hangs: Any = HangsAtTheEnd()
    client = AsyncClient(settings=settings(), plugins=[hangs], environ={})
    file = await client.files.create(requests)
    batch = await client.batches.create(endpoint=ENDPOINT, input_file_id=file.id)
    await client.batches.wait(batch.id)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await client.aclose(timeout=0.1)
    assert loop.time() - began < 1.5
    hangs.never.set()
