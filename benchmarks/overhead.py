"""What recording an event costs a submission with 0, 1 and 5 loggers, one of them hanging, next to LiteLLM's callbacks.

    .venv/bin/python benchmarks/overhead.py            4 rounds of 60 submissions each
    .venv/bin/python benchmarks/overhead.py --quick    4 rounds of 20

Each submission has a twin: the same request to the same sandbox by the provider (LiteLLM: the OpenAI client) alone, in
turn, so that both meet the same machine. The difference is what the rest costs. Submissions come one at a time with a
pause between, as people wait for them; of the rounds the best median counts, for the machine may be busy. Every
measurement is a process of its own, the sandbox another; the ledger is a file, and each submission is synced to the disk
twice before it returns: its intent before the call, its batch and event after it. The limit is two synced inserts of one
row by sqlite3 alone, in turn with the rest: where they take more than half the bar, the disk or the machine is busy, and
twice the limit is the bar.
"""

import argparse
import asyncio
import json
import logging
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metering import CACHE, litellm_python

BAR_MS = 2.0
ROUNDS = 4
WARM_UP = 10
PAUSE = 0.03
"""Seconds between submissions: what loggers do meanwhile is theirs."""
ENDPOINT = "/v1/chat/completions"
METADATA = {"team": "search", "job": "nightly"}
VARIANTS = {"0 loggers": (0, 0), "1 logger": (1, 0), "5 loggers, 1 hangs": (4, 1), "5 loggers, all hang": (0, 5)}
"""Loggers that work, and loggers that never return."""

Report = dict[str, Any]
Submit = Callable[[], Awaitable[object]]


async def timed(submit: Submit) -> float:
    started = time.perf_counter()
    await submit()
    return (time.perf_counter() - started) * 1000


async def in_turn(count: int, **submits: Submit) -> Report:
    """`alone`, `whole` and others, one after the other, the order changing so that none always comes first."""
    for submit in [*submits.values()] * WARM_UP:
        await submit()
    rounds = [await one_round(count, submits) for _ in range(ROUNDS)]
    return min(rounds, key=lambda report: report["added"])


async def one_round(count: int, submits: Mapping[str, Submit]) -> Report:
    times: dict[str, list[float]] = {name: [] for name in submits}
    for number in range(count):
        named = list(submits.items())
        for name, submit in named if number % 2 else reversed(named):
            await asyncio.sleep(PAUSE)
            times[name].append(await timed(submit))
    added = [whole - alone for alone, whole in zip(times["alone"], times["whole"], strict=True)]
    medians = {name: statistics.median(found) for name, found in times.items()}
    return {**medians, "added": statistics.median(added), "p90": statistics.quantiles(added, n=10)[-1]}


async def back_to_back(submit: Submit, count: int) -> float:
    """Milliseconds a submission, in a row: now they and the deliveries share one processor."""
    started = time.perf_counter()
    for _ in range(count):
        await submit()
    return (time.perf_counter() - started) * 1000 / count


async def ours(url: str, count: int, works: int, hangs: int) -> Report:
    from batchmeter import AsyncClient, hookimpl
    from batchmeter.config import Settings
    from batchmeter.providers import BatchRequest, CallOptions
    from batchmeter.testing import Recorder
    from batchmeter.testing.requests import lines_of

    class Hangs:
        @hookimpl
        async def acreate_batch(self, event: object) -> None:
            await asyncio.Event().wait()

    logging.disable(logging.WARNING)  # hanging loggers are complained about, as they should be
    working = [Recorder() for _ in range(works)]
    plugins = [*((f"works-{number}", plugin) for number, plugin in enumerate(working))]
    plugins += [(f"hangs-{number}", Hangs()) for number in range(hangs)]
    with scratch() as folder:
        accounts = {"openai": {"api_key": "sk-benchmark", "api_base": url}}
        settings = Settings(ledger=str(folder / "ledger.db"), load=(), accounts=accounts)
        client = AsyncClient(settings=settings, environ={})
        for name, plugin in plugins:
            client.plugins.register(plugin, name)
        await client.open()
        file = await client.files.create(file=("requests.jsonl", lines_of(3, "gpt-5-mini")))
        provider = client.accounts.get("openai")

        async def alone() -> None:
            await provider.create_batch(BatchRequest(file.id, ENDPOINT, metadata=METADATA), CallOptions())

        async def whole() -> None:
            await client.batches.create(input_file_id=file.id, endpoint=ENDPOINT, metadata=METADATA)

        with limit(folder / "limit.db") as bare:
            found = await in_turn(count, alone=alone, whole=whole, limit=bare)
        row = await back_to_back(whole, count)
        recorded = len(await client.ledger.events(types=["acreate_batch"], limit=10_000))
        assert recorded == WARM_UP + (ROUNDS + 1) * count, "a submission was not recorded"
        await client.aclose(timeout=0.1)
        return {**found, "row": row}


async def litellm(url: str, count: int, works: int, hangs: int) -> Report:
    import litellm
    from litellm.integrations.custom_logger import CustomLogger

    from openai import AsyncOpenAI

    class Works(CustomLogger):
        got = 0

        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            Works.got += 1

    class Hangs(CustomLogger):
        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            await asyncio.Event().wait()

    litellm.callbacks = [*(Works() for _ in range(works)), *(Hangs() for _ in range(hangs))]
    async with AsyncOpenAI(api_key="sk-benchmark", base_url=url) as client:
        content = ("requests.jsonl", request_lines())
        file = await client.files.create(file=content, purpose="batch")

        async def alone() -> None:
            await client.batches.create(
                input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h", metadata=METADATA
            )

        async def whole() -> None:
            await litellm.acreate_batch(
                input_file_id=file.id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata=dict(METADATA),
                custom_llm_provider="openai",
                api_key="sk-benchmark",
                api_base=url,
            )

        found = await in_turn(count, alone=alone, whole=whole)
        return {**found, "row": await back_to_back(whole, count)}


def request_lines() -> bytes:
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say 1."}]}
    return json.dumps({"custom_id": "r", "method": "POST", "url": ENDPOINT, "body": body}).encode() + b"\n"


@contextmanager
def scratch() -> Generator[Path]:
    """A folder on the disk that the repository is on: /tmp may be memory."""
    CACHE.joinpath("benchmarks").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="overhead-", dir=CACHE / "benchmarks"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def limit(path: Path) -> Generator[Submit]:
    """Two transactions of one row each, in a thread as every ledger's: what no durable record can beat."""
    thread = ThreadPoolExecutor(1)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE kept (id TEXT PRIMARY KEY, text TEXT)")

    def insert() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO kept VALUES (?, ?)", (uuid.uuid4().hex, "x" * 300))
        connection.execute("COMMIT")

    async def twice() -> None:
        for _ in range(2):
            await asyncio.get_running_loop().run_in_executor(thread, insert)

    yield twice
    thread.shutdown()
    connection.close()


async def sandbox() -> None:
    """Serves until its standard input ends; a batch takes its 22 minutes, so nothing goes on but what is measured."""
    from batchmeter.testing import serve_sandbox

    async with serve_sandbox(speed=1.0) as served:
        print(served.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


TASKS = {"ours": ours, "litellm": litellm}


def child(task: str, url: str, count: int, works: int, hangs: int) -> Report:
    command = [litellm_python() if task == "litellm" else sys.executable, __file__, "--child"]
    arguments = [task, url, str(count), str(works), str(hangs)]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "CRITICAL"}
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])


def measure(url: str, count: int, *, with_litellm: bool) -> bool:
    print(
        f"\nmilliseconds, the best of {ROUNDS} rounds of {count}            alone    whole    added     90 %   in a row"
    )
    passed = True
    for name, (works, hangs) in VARIANTS.items():
        found = child("ours", url, count, works, hangs)
        row(f"batchmeter, {name}", found)
        theirs = child("litellm", url, count, works, hangs) if with_litellm else None
        if theirs:
            row(f"LiteLLM, {name}", theirs)
            print(
                f"        LiteLLM adds {theirs['added'] / found['added']:.1f}x as much (its client and its callbacks), and writes nothing down"
            )
        passed &= verdict(found["added"], found["limit"])
    return passed


def verdict(added: float, bare: float) -> bool:
    busy = bare > BAR_MS / 2
    bar = 2 * bare if busy else BAR_MS
    why = "judged by twice the limit: disk or machine is slow or busy" if busy else "judged by the clock"
    print(f"  {'pass' if added < bar else 'FAIL'}  recording adds {added:.2f} ms, the limit is {bare:.2f} ms ({why})")
    return added < bar


def row(name: str, found: Report) -> None:
    print(f"  {name:<40}" + "".join(f"{found[key]:>9.2f}" for key in ("alone", "whole", "added", "p90", "row")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few submissions, for a look")
    parser.add_argument("--no-litellm", action="store_true", help="only ours")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child == ["sandbox"]:
        asyncio.run(sandbox())
        return 0
    if asked.child:
        task, url, *numbers = asked.child
        print(json.dumps(asyncio.run(TASKS[task](url, *map(int, numbers)))))
        return 0
    command = [sys.executable, __file__, "--child", "sandbox"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        try:
            passed = measure(url, 20 if asked.quick else 60, with_litellm=not asked.no_litellm)
        finally:
            assert server.stdin is not None
            server.stdin.close()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
