"""The promise, put to the test: workers on one PostgreSQL ledger, killed at random, the database restarted under them.

python benchmarks/proof.py --postgres postgresql://… [--batches 100000] [--workers 4] [--kills 40] [--restart 'pg_ctl …']
                           [--folder FOLDER]

Every batch must come to exactly one ending event, and the ledger's sums must be the sandbox's own, to the last token.
Workers are forked from one process that has everything loaded, so that a kill costs nothing but what it destroys.
A million batches take hours: with a `--folder` the sandboxes are kept, and once all batches are recorded the same command
goes on from where it stopped.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import IO, Any, Self

from pydantic import TypeAdapter

from batchmeter.accounts import Accounts
from batchmeter.cli.ledger_check import check
from batchmeter.cli.ledger_copy import count_rows
from batchmeter.config import Settings
from batchmeter.errors import LedgerError
from batchmeter.events import BATCH_KINDS as KINDS
from batchmeter.events import Subscription
from batchmeter.ledger import open_ledger
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Submission
from batchmeter.models import Batch, Usage
from batchmeter.plugins import Plugins
from batchmeter.pricebook.book import PriceBook
from batchmeter.providers import BatchRequest, CallOptions, FileUpload
from batchmeter.rounds.durations import settled
from batchmeter.tracker.build_events import created_event
from batchmeter.tracker.schedule import TrackerOptions
from batchmeter.tracker.tracker import Tracker
from batchmeter_sandbox import Engine
from batchmeter_sandbox.provider import SandboxProvider
from batchmeter_sandbox.settings import SandboxSettings

ACCOUNTS = 4
LOGGERS = ("a", "b")
SCRIPTS = ("", "", "fail=0.5", "outcome=expired", "outcome=cancelled")
MANY = 5000
LEASE = 4.0
HOUR = 3600.0


@dataclass
class Report:
    """The outcome."""

    batches: int
    workers: int
    kills: int = 0
    restarts: int = 0
    record_seconds: float = 0.0
    settle_seconds: float = 0.0
    made: int = 0
    """Batches that the sandboxes know."""
    events: Counter[str] = field(default_factory=Counter[str])
    ended_once: int = 0
    """Batches with exactly one ending event."""
    wrong: dict[str, int] = field(default_factory=dict[str, int])
    """Findings of the ledger's own check."""
    owed: dict[str, int] = field(default_factory=dict[str, int])
    """Logger -> events that it is owed: all of them, as nobody delivers here."""
    differing: int = 0
    """Batches whose usage is not the sandbox's."""
    usage: Usage = field(default_factory=Usage)
    expected: Usage = field(default_factory=Usage)

    @property
    def holds(self) -> bool:
        return (
            self.ended_once == self.made == self.batches
            and not self.wrong
            and self.owed == dict.fromkeys(LOGGERS, self.events.total())
            and not self.differing
            and self.usage == self.expected
        )


async def prove(
    url: str,
    *,
    batches: int,
    workers: int = 4,
    kills: int,
    restart: Callable[[], None] | None = None,
    every: tuple[float, float] = (0.1, 0.6),
    patience: float = 120.0,
    seed: int = 1,
    folder: str | None = None,
    lease: float = LEASE,
    python: str = sys.executable,
) -> Report:
    """Fill an empty ledger, let workers settle it while they are killed, and look at what is left.

    `lease`: seconds until others take what a killed worker held. `python` runs this file, to fork the workers.
    """
    report = Report(batches, workers)
    ledger = open_ledger(url)
    await ledger.open()
    await ledger.subscribe([Subscription(logger, frozenset(KINDS)) for logger in LOGGERS])
    with ExitStack() as stack:
        folder = folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="bm-proof-"))
        began = time.monotonic()
        recorded = (await count_rows(ledger))["batch"]
        if not recorded:
            await _recorded(ledger, url, folder, batches)
        elif recorded != batches:
            sys.exit(f"the ledger has {recorded:,} batches, not {batches:,}: begin with an empty database and folder")
        report.record_seconds = time.monotonic() - began
        command = [python, __file__, "--nursery", url, "--folder", folder, "--lease", str(lease)]
        with _Nursery(command) as nursery:
            began = time.monotonic()
            chaos = asyncio.create_task(_chaos(nursery, report, kills, restart, every, random.Random(seed)))
            async with asyncio.timeout(patience):
                while not chaos.done() or await _is_open(ledger):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)  # other processes finish it
            report.settle_seconds = time.monotonic() - began
            await chaos
        await _examine(ledger, folder, report)
    await ledger.aclose()
    return report


async def _is_open(ledger: Ledger) -> bool:
    """A database that is away for long may have anything in it."""
    try:
        return await ledger.next_due_at() is not None
    except LedgerError:
        return True


def provider(folder: str, number: int, clock: Callable[[], float]) -> SandboxProvider:
    engine = Engine(folder=f"{folder}/box{number}", seed=number, speed=1e9, clock=clock)
    return SandboxProvider(f"box{number}", SandboxSettings(), engine=engine)


async def _recorded(ledger: Ledger, url: str, folder: str, batches: int) -> None:
    """Many are recorded by a process for each account."""
    if batches < MANY:
        for number in range(ACCOUNTS):
            await _record(ledger, folder, batches, number)
        return
    command = [sys.executable, __file__, "--postgres", url, "--folder", folder, "--batches", str(batches)]
    recorders = [await asyncio.create_subprocess_exec(*command, "--record", str(n)) for n in range(ACCOUNTS)]
    assert not any([await recorder.wait() for recorder in recorders])


async def _record(ledger: Ledger, folder: str, batches: int, number: int) -> None:
    """One account's batches at its sandbox, one a second of its time, and in the ledger."""
    began, tick = time.time() - batches - HOUR, count()
    box = provider(folder, number, lambda: began + next(tick))
    files = [await box.create_file(_input(lines), CallOptions()) for lines in (1, 2, 3)]
    for start in range(number, batches, ACCOUNTS * 50):
        block = range(start, min(start + ACCOUNTS * 50, batches), ACCOUNTS)
        await asyncio.gather(*(_made(ledger, box, files[each % 3].id, each) for each in block))
    box.engine.close()


async def _made(ledger: Ledger, box: SandboxProvider, file_id: str, number: int) -> None:
    metadata = {"sandbox": SCRIPTS[number % len(SCRIPTS)]}
    request = BatchRequest(file_id, "/v1/chat/completions", metadata=metadata)
    batch: Batch = await box.create_batch(request, CallOptions())
    submission = Submission(box.account, "sandbox", batch.endpoint, input_file_id=file_id, metadata=metadata)
    event = created_event(submission, batch, time=ledger.now())
    await ledger.record_created(submission, batch, event, next_poll_at=ledger.now(), durable=False)


def _input(lines: int) -> FileUpload:
    rows = [
        {
            "custom_id": f"{lines}-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"question {number}"}]},
        }
        for number in range(lines)
    ]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()

    async def chunks() -> Any:
        yield data

    return FileUpload(f"{lines}.jsonl", "batch", chunks)


class _Nursery:
    """Forks workers on request; kills them by their id."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.alive: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in list(self.alive):
            self.kill(pid)
        self._process.communicate()

    def start(self) -> None:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("start\n")
        stdin.flush()
        self.alive.append(int(stdout.readline()))

    def kill(self, pid: int) -> None:
        self.alive.remove(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _chaos(
    nursery: _Nursery,
    report: Report,
    kills: int,
    restart: Callable[[], None] | None,
    every: tuple[float, float],
    chance: random.Random,
) -> None:
    for _ in range(report.workers):
        await asyncio.to_thread(nursery.start)
    for number in range(kills):
        await asyncio.sleep(chance.uniform(*every))
        nursery.kill(chance.choice(nursery.alive))
        report.kills += 1
        await asyncio.to_thread(nursery.start)
        if restart is not None and number == kills // 2:
            await asyncio.to_thread(restart)
            report.restarts += 1


async def _examine(ledger: Ledger, folder: str, report: Report) -> None:
    endings, after = Counter[str](), 0
    while page := await ledger.events(after=after, limit=5000):
        after = page[-1].seq
        report.events.update(stored.event.type for stored in page)
        endings.update(stored.event.batch_id for stored in page if stored.event.type != "acreate_batch")
    boxes = {box.account: box for box in (provider(folder, number, time.time) for number in range(ACCOUNTS))}
    made = [batch_id for box in boxes.values() for batch_id in box.engine.batches.records.order]
    report.made = len(made)
    report.ended_once = sum(endings[batch_id] == 1 for batch_id in made)
    report.wrong = (await check(ledger)).wrong
    report.owed = {one.name: one.owed for one in await ledger.subscriptions()}
    async for settlement in settled(ledger):
        expected = (await boxes[settlement.account].engine.totals(settlement.batch_id)).usage
        report.differing += settlement.usage != expected
        report.usage += settlement.usage
        report.expected += expected
    for box in boxes.values():
        box.engine.close()


def nursery(url: str, folder: str, lease: float) -> None:
    """Everything is loaded, the sandboxes' journals are read; each line on stdin forks a worker from that."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    boxes = [provider(folder, number, time.time) for number in range(ACCOUNTS)]
    prices, lines = PriceBook.load(None), sys.stdin
    Plugins.load(Settings(load=()))
    gc.freeze()  # or each worker would copy what it has in common with the others
    for _ in _each(lines):
        pid = os.fork()
        if pid == 0:
            asyncio.run(_work(url, boxes, prices, lease))
        print(pid, flush=True)


def _each(lines: IO[str]) -> Any:
    while line := lines.readline():
        yield line


async def _work(url: str, boxes: list[SandboxProvider], prices: PriceBook, lease: float) -> None:
    ledger = open_ledger(url)
    await ledger.open()
    settings = Settings(load=())
    plugins = Plugins.load(settings)
    accounts = Accounts(settings, plugins)
    for box in boxes:
        accounts.add(box)
    options = TrackerOptions(lease=lease, idle=0.2, block=50, requests_per_second=10_000)
    await Tracker(ledger, accounts, plugins, prices, options=options).run()


async def record(url: str, folder: str, batches: int, number: int) -> None:
    ledger = open_ledger(url)
    await ledger.open()
    await _record(ledger, folder, batches, number)
    await ledger.aclose()


def _run(command: str) -> None:
    subprocess.run(command, shell=True, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", help="an empty database, for a ledger of its own")
    parser.add_argument("--batches", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--restart", help="a shell command that restarts the database, run once halfway")
    parser.add_argument("--nursery", help=argparse.SUPPRESS)
    parser.add_argument("--record", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--lease", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help="where the sandboxes are kept; default: a temporary folder")
    options = parser.parse_args()
    if options.nursery:
        nursery(options.nursery, options.folder, options.lease)
        return
    if not options.postgres:
        parser.error("--postgres is needed")
    if options.record is not None:
        asyncio.run(record(options.postgres, options.folder, options.batches, options.record))
        return
    command = options.restart
    report = asyncio.run(
        prove(
            options.postgres,
            batches=options.batches,
            workers=options.workers,
            kills=options.kills,
            restart=partial(_run, command) if command else None,
            every=(0.5, 2.0),
            patience=7200,
            folder=options.folder,
        )
    )
    print(TypeAdapter(Report).dump_json(report, indent=1).decode(), f"\nholds: {report.holds}")
    sys.exit(0 if report.holds else 1)


if __name__ == "__main__":
    main()
