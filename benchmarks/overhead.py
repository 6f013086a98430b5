"""The cost of recording an event to a submission with 0, 1 and 5 loggers, one of them hanging, next to LiteLLM's callbacks.

    .venv/bin/python benchmarks/overhead.py            8 rounds of 40 submissions each
    .venv/bin/python benchmarks/overhead.py --quick    8 rounds of 10

Each submission has a twin: the same request to the same sandbox by the provider (LiteLLM: the OpenAI client) alone, in
turn, so that both meet the same machine. The difference is what the rest costs. Submissions come one at a time, the next
when the loggers that work have had the last; of the rounds the best median counts, for the machine may be busy. Every
measurement is a process of its own, the sandbox another; the ledger is a file, and each submission is written twice
before it returns: its intent before the call, synced to the disk, and its batch and event after it. The limit is two
inserts of one row by sqlite3 alone, the first one synced, in turn with the rest: where they take more than half the
bar, most of the time is the disk's, and the same is measured with the ledger in memory, which tells what is ours.
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
ROUNDS = 8
WARM_UP = 10
PAUSE = 0.03
"""Seconds between submissions: what loggers do meanwhile is theirs."""
DISK = CACHE / "benchmarks"
"""On the disk that the repository is on: /tmp may be memory."""
MEMORY = Path("/dev/shm")
LONGEST_PAUSE = 1.0
"""Seconds until loggers are waited for no more."""
ENDPOINT = "/v1/chat/completions"
METADATA = {"team": "search", "job": "nightly"}
VARIANTS = {"0 loggers": (0, 0), "1 logger": (1, 0), "5 loggers, 1 hangs": (4, 1), "5 loggers, all hang": (0, 5)}
"""Loggers that work, and loggers that never return."""

Report = dict[str, Any]
Submit = Callable[[], Awaitable[object]]


async def timed(submit: Submit) -> tuple[float, float]:
    """Milliseconds by the clock, and of CPU in all threads of this process."""
    clock, work = time.perf_counter(), time.process_time()
    await submit()
    return (time.perf_counter() - clock) * 1000, (time.process_time() - work) * 1000


async def in_turn(count: int, idle: Callable[[], bool], **submits: Submit) -> Report:
    """`alone`, `whole` and others, one after the other, the order changing so that none always comes first."""
    for submit in [*submits.values()] * WARM_UP:
        await submit()
    rounds = [await one_round(count, idle, submits) for _ in range(ROUNDS)]
    best = min(rounds, key=lambda report: report["added"])
    return {**best, "work": min(report["work"] for report in rounds)}


async def one_round(count: int, idle: Callable[[], bool], submits: Mapping[str, Submit]) -> Report:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in submits}
    for number in range(count):
        named = list(submits.items())
        for name, submit in named if number % 2 else reversed(named):
            await rest(idle)
            times[name].append(await timed(submit))
    pairs = list(zip(times["alone"], times["whole"], strict=True))
    added = [whole[0] - alone[0] for alone, whole in pairs]
    return {
        **{name: statistics.median(clock for clock, _ in found) for name, found in times.items()},
        "added": statistics.median(added),
        "p90": statistics.quantiles(added, n=10)[-1],
        "work": statistics.median(whole[1] - alone[1] for alone, whole in pairs),
    }


async def rest(idle: Callable[[], bool]) -> None:
    until = time.perf_counter() + LONGEST_PAUSE
    while not idle() and time.perf_counter() < until:  # noqa: ASYNC110 - a logger that hangs never says so
        await asyncio.sleep(PAUSE / 10)
    await asyncio.sleep(PAUSE)


async def back_to_back(submit: Submit, count: int) -> float:
    """Milliseconds a submission, in a row: now they and the deliveries share one processor."""
    started = time.perf_counter()
    for _ in range(count):
        await submit()
    return (time.perf_counter() - started) * 1000 / count


async def ours(url: str, count: int, works: int, hangs: int, place: Path) -> Report:
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
    plugins: list[tuple[str, object]] = [(f"works-{number}", plugin) for number, plugin in enumerate(working)]
    plugins += [(f"hangs-{number}", Hangs()) for number in range(hangs)]
    made = 0
    with scratch(place) as folder:
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
            nonlocal made
            await client.batches.create(input_file_id=file.id, endpoint=ENDPOINT, metadata=METADATA)
            made += 1

        def idle() -> bool:
            return all(len(logger.events) == made for logger in working)

        with limit(folder / "limit.db") as bare:
            found = await in_turn(count, idle, alone=alone, whole=whole, limit=bare)
        row = await back_to_back(whole, count)
        recorded = len(await client.ledger.events(types=["acreate_batch"], limit=10_000))
        assert recorded == made, "a submission was not recorded"
        await client.aclose(timeout=0.1)
        return {**found, "row": row}


async def litellm(url: str, count: int, works: int, hangs: int, place: Path) -> Report:
    del place  # it keeps nothing
    import litellm
    from litellm.integrations.custom_logger import CustomLogger

    from openai import AsyncOpenAI

    class Works(CustomLogger):
        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            """Takes no time."""

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

        found = await in_turn(count, lambda: True, alone=alone, whole=whole)
        return {**found, "row": await back_to_back(whole, count)}


def request_lines() -> bytes:
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say 1."}]}
    return json.dumps({"custom_id": "r", "method": "POST", "url": ENDPOINT, "body": body}).encode() + b"\n"


@contextmanager
def scratch(place: Path) -> Generator[Path]:
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="overhead-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def limit(path: Path) -> Generator[Submit]:
    """Two transactions of one row each, in a thread as every ledger's: what no record can beat."""
    thread = ThreadPoolExecutor(1)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("CREATE TABLE kept (id TEXT PRIMARY KEY, text TEXT)")

    def insert(synchronous: str) -> None:
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO kept VALUES (?, ?)", (uuid.uuid4().hex, "x" * 300))
        connection.execute("COMMIT")

    async def twice() -> None:
        for synchronous in ("FULL", "NORMAL"):
            await asyncio.get_running_loop().run_in_executor(thread, insert, synchronous)

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


def child(task: str, url: str, count: int, works: int, hangs: int, place: Path = DISK) -> Report:
    command = [litellm_python() if task == "litellm" else sys.executable, __file__, "--child"]
    arguments = [task, url, str(count), str(works), str(hangs), str(place)]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "CRITICAL"}
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])


def measure(url: str, count: int, *, with_litellm: bool) -> bool:
    print(
        f"\nmilliseconds, the best of {ROUNDS} rounds of {count}                  alone    whole    added     90 %      CPU   in a row"
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
        if found["limit"] > BAR_MS / 2 and MEMORY.is_dir():
            limit = found["limit"]
            found = child("ours", url, count, works, hangs, MEMORY)
            row(f"  its ledger in memory ({limit:.1f} ms by disk alone)", found)
        passed &= verdict(found)
    return passed


def verdict(found: Report) -> bool:
    word = "pass" if found["added"] < BAR_MS else "FAIL"
    print(
        f"  {word}  recording adds under {BAR_MS:g} ms: {found['added']:.2f} ms; the limit is {found['limit']:.2f} ms"
    )
    return found["added"] < BAR_MS


def row(name: str, found: Report) -> None:
    print(f"  {name:<46}" + "".join(f"{found[key]:>9.2f}" for key in ("alone", "whole", "added", "p90", "work", "row")))


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
        task, url, *numbers, place = asked.child
        print(json.dumps(asyncio.run(TASKS[task](url, *map(int, numbers), Path(place)))))
        return 0
    command = [sys.executable, __file__, "--child", "sandbox"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        try:
            passed = measure(url, 10 if asked.quick else 40, with_litellm=not asked.no_litellm)
        finally:
            assert server.stdin is not None
            server.stdin.close()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
