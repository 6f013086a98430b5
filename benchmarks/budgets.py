"""Submits a second with 0, 1 and 5 matching budgets on both engines, and one hot budget taken from by 8 processes.

python benchmarks/budgets.py [--seconds 3] [--processes 8] [--postgres postgresql://…]

A submit is what the ledger does for one, without the provider: the reservation, the intent, the recorded batch with its
event. "Reservations" are the budgets' part alone. The bar: 500 submits a second on PostgreSQL with one budget that every
batch takes from; the ratio to no budget is printed too, as machines differ. Exits with 1 on a miss.
"""

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from batchmeter.errors import UsageError
from batchmeter.host import PlannedBatch
from batchmeter.inputs.estimate import Estimate, ModelEstimate
from batchmeter.ledger import open_ledger
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Intent, Submission
from batchmeter.models import Attribution, Batch
from batchmeter.plugins import Plugins
from batchmeter.runtime.client_host import ClientHost
from batchmeter.tracker.build_events import created_event
from batchmeter_budgets import Budgets, BudgetsSettings

BAR = 500.0
cpu_ms: list[float] = []
"""Milliseconds of CPU of one call, of each measurement: what a busy machine does not change."""
TASKS = 16
MODEL = "gpt-5-mini"
ONE = ModelEstimate(
    requests=1, priced_as=MODEL, input_tokens=100, max_input_tokens=200, max_output_tokens=100, unlimited_requests=0,
    expected_output_tokens=50, history_requests=1, expected=Decimal("0.0001"), upper=Decimal("0.0002"),
)  # fmt: skip
ESTIMATE = Estimate(requests=1, models={MODEL: ONE}, expected=ONE.expected, upper=ONE.upper)
SUBMISSION = Submission(account="openai", provider="openai", attribution=Attribution(team="search"))


@dataclass
class Bench:
    """One process's ledger and budgets."""

    ledger: Ledger
    budgets: Budgets

    @classmethod
    async def open(cls, url: str, matching: int) -> "Bench":
        ledger = open_ledger(url)
        await ledger.open()
        scopes = [{}, {"team": "search"}, {"account": "openai"}, {"model": MODEL}, {"provider": "openai"}]
        named = {f"b{place}": {"limit": "1000000", "scope": scope} for place, scope in enumerate(scopes[:matching])}
        budgets = Budgets(BudgetsSettings.model_validate({"budgets": named, "every": 3600}))
        await budgets.startup(ClientHost(Plugins(), ledger))
        for name in budgets.book.unnamed:  # of an earlier measurement
            with contextlib.suppress(UsageError):  # another process was faster
                await budgets.book.delete(name, who="benchmark")
        return cls(ledger, budgets)

    async def close(self) -> None:
        await self.budgets.shutdown()
        await self.ledger.aclose()

    async def reserve(self, name: str) -> None:
        planned = PlannedBatch("openai", "openai", "/v1/x", MODEL, None, "file", SUBMISSION.attribution, id=name)
        await self.budgets.before_submit(planned, ESTIMATE)

    async def submit(self, name: str) -> None:
        await self.reserve(name)
        await self.ledger.open_intent(Intent(name, SUBMISSION))
        now = self.ledger.now()
        batch = Batch(id=f"batch_{name}", status="validating", endpoint="/v1/x", created_at=now // 1000)
        event = created_event(SUBMISSION, batch, time=now)
        await self.ledger.record_created(SUBMISSION, batch, event, next_poll_at=now, intent_id=name, durable=False)


async def rate(work: Callable[[str], Awaitable[None]], seconds: float) -> float:
    """Calls a second, of so many at once, and what each takes of this process's CPU goes to `cpu_ms`."""
    numbers, prefix = itertools.count(), os.urandom(4).hex()
    end, began, cpu = time.perf_counter() + seconds, time.perf_counter(), time.process_time()

    async def one() -> int:
        done = 0
        while time.perf_counter() < end:
            await work(f"{prefix}-{next(numbers)}")
            done += 1
        return done

    done = sum(await asyncio.gather(*(one() for _ in range(TASKS))))
    cpu_ms.append((time.process_time() - cpu) / max(done, 1) * 1000)
    return done / (time.perf_counter() - began)


async def measured(url: str, matching: int, seconds: float) -> tuple[float, float]:
    """Submits and reservations a second."""
    bench = await Bench.open(url, matching)
    try:
        await rate(bench.submit, seconds / 4)  # the first one makes the period's rows
        return await rate(bench.submit, seconds), await rate(bench.reserve, seconds)
    finally:
        await bench.close()


def process(
    url: str,
    seconds: float,
    reservations: bool,
    ready: "multiprocessing.Barrier",
    found: "multiprocessing.Queue[float]",
) -> None:
    async def work() -> None:
        bench = await Bench.open(url, 1)
        await bench.submit(os.urandom(4).hex())
        await asyncio.to_thread(ready.wait)
        found.put(await rate(bench.reserve if reservations else bench.submit, seconds))
        await bench.close()

    asyncio.run(work())


def hot(url: str, processes: int, seconds: float, *, reservations: bool) -> float:
    """All processes together, on one budget."""
    context = multiprocessing.get_context("spawn")
    ready, found = context.Barrier(processes), context.Queue()
    running = [
        context.Process(target=process, args=(url, seconds, reservations, ready, found)) for _ in range(processes)
    ]
    for one in running:
        one.start()
    total = sum(found.get() for _ in running)
    for one in running:
        one.join()
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--postgres", metavar="URL")
    parser.add_argument("--only", choices=("sqlite", "postgres"))
    asked = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        urls = {"sqlite": str(Path(folder) / "ledger.db")} | ({"postgres": asked.postgres} if asked.postgres else {})
        for engine, url in urls.items():
            if asked.only not in (None, engine):
                continue
            plain = 0.0
            for matching in (0, 1, 5):
                submits, reservations = asyncio.run(measured(url, matching, asked.seconds))
                plain = plain or submits
                missed |= engine == "postgres" and matching == 1 and submits < BAR
                alone = f"; reservations alone {reservations:,.0f}/s, {cpu_ms[-1]:.2f} ms" if matching else ""
                cost = f"{submits / plain:.2f} of none, {cpu_ms[-2]:.2f} ms of CPU each"
                print(f"{engine}: {matching} budgets: {submits:,.0f} submits/s, {cost}{alone}")
            for reservations in (False, True):
                total = hot(url, asked.processes, asked.seconds, reservations=reservations)
                what = "reservations alone" if reservations else "submits"
                print(f"{engine}: one hot budget, {asked.processes} processes: {total:,.0f} {what}/s")
    print(f"bar: {BAR:,.0f} submits/s on PostgreSQL with one budget: {'missed' if missed else 'kept or not measured'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
