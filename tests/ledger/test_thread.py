"""The ledger's thread, what it keeps in mind, and which of its writes wait for the disk."""

import asyncio
import os
import subprocess
import threading

import pytest
from tests.warm_python import WARM

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.ledger.files import AccountCache
from batchmeter.ledger.ledger import Ledger
from batchmeter.testing.requests import lines_of
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter_sqlite.database import SqliteDatabase, Thread


@pytest.fixture
def thread():
    made = Thread("ledger-test")
    yield made
    made.stop()


async def test_results_and_errors_come_back_in_the_order_of_the_jobs(thread):
    order = []

    def job(number):
        order.append((number, threading.current_thread().name))
        if number == 1:
            raise ValueError("one")
        return number

    found = await asyncio.gather(*(thread.run(lambda n=n: job(n)) for n in range(3)), return_exceptions=True)
    assert order == [(0, "ledger-test"), (1, "ledger-test"), (2, "ledger-test")]
    assert found[0] == 0
    assert found[2] == 2
    assert str(found[1]) == "one"


async def test_who_is_cancelled_waits_no_more_and_the_next_is_served(thread):
    begun, free, done = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        free.wait()
        done.append("slow")

    waiting = asyncio.create_task(thread.run(slow))
    await asyncio.to_thread(begun.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    free.set()
    assert await thread.run(lambda: "next") == "next"
    assert done == ["slow"], "what had begun is done all the same"


FORKS = """
import asyncio, os, time
from batchmeter_sqlite.database import Thread

at_work = False

def job():
    global at_work
    at_work = True
    time.sleep(0.002)       # as a statement does, without the interpreter's lock
    at_work = False

async def main():
    thread = Thread("ledger")
    working = asyncio.gather(*(thread.run(job) for _ in range(100)))
    codes = []
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(1 if at_work else 0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        await asyncio.sleep(0)
    await working
    thread.stop()
    print(codes)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_no_child_is_forked_in_the_middle_of_a_job():
    done = subprocess.run([WARM, "-c", FORKS], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{[0] * 20}\n"


def test_a_loop_that_has_ended_stops_nobody_else(thread):
    begun, free = threading.Event(), threading.Event()

    async def leave():
        task = asyncio.create_task(thread.run(lambda: (begun.set(), free.wait())))
        await asyncio.to_thread(begun.wait)
        task.cancel()

    asyncio.run(leave())
    free.set()
    assert asyncio.run(thread.run(lambda: 7)) == 7


def test_the_ids_used_least_recently_are_forgotten():
    cache = AccountCache(size=2)
    cache.put("a", "one")
    cache.put("b", "two")
    assert cache.get("a") == "one"
    cache.put("c", "three")
    assert [cache.get(name) for name in "abc"] == ["one", None, "three"]
    cache.forget("a")
    assert cache.get("a") is None


class Told(SqliteDatabase):
    """Notes which writes wait for the disk."""

    def __init__(self, path):
        super().__init__(path)
        self.durable = []

    async def write(self, work, *, durable=False):
        self.durable.append(durable)
        return await super().write(work, durable=durable)


@pytest.mark.parametrize(("tags", "synced"), [(True, [True, False]), (False, [True, True])])
async def test_a_batch_that_its_intent_could_not_find_again_is_synced_too(tmp_path, tags, synced):
    database = Told(str(tmp_path / "ledger.db"))
    async with serve_sandbox() as sandbox:
        account = {"api_key": "sk-test", "api_base": sandbox.url, "tag_batches": tags}
        settings = Settings(track=False, load=(), accounts={"openai": account})
        async with AsyncClient(settings=settings, ledger=Ledger(database), environ={}) as client:
            file = await client.files.create(file=("r.jsonl", lines_of(1, "gpt-5-mini")))
            database.durable.clear()
            await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions")
            assert database.durable[:2] == synced
