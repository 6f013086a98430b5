"""Server time of the pages that sum: overview and spend, over 30 days and a year of batches' sums.

python benchmarks/pages.py [--requests 20]

Each page is asked for just after another process has added a batch to the sums of the newest day, again, and just after a batch
of an older day was changed, another day each time. The bars, p95: over 1,000,000 batches of 480 combinations a day (800,000 rows
of sums) 150 ms for any page; over 200,000 rows of sums 50 ms for 30 days.
Requests go through the app without a socket. Exit code 1 where a page is slower than its bar.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import httpx2
from reports import FIRST_DAY, fill, groups

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.ledger import open_ledger
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.session import Session
from batchmeter.spend.figures import Kind, Tally
from batchmeter.spend.rolling import note_change, store
from batchmeter_proxy import create_app

DAYS = 365
LAST = (FIRST_DAY + DAYS) * 86_400_000
SIZES = {480: {30: 150.0, DAYS: 150.0}, 110: {30: 50.0, DAYS: 150.0}}
"""Combinations of account, model, team, … a day -> days of a page -> milliseconds."""


def day(number: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(number * 86_400))


def places(days: int) -> list[str]:
    span = f"from={day(FIRST_DAY + DAYS - days)}&to={day(FIRST_DAY + DAYS - 1)}"
    return [f"/ui?{span}", *(f"/ui/spend?by={by}&{span}" for by in ("model", "team", "key"))]


async def measure(path: str, ledger: Ledger, requests: int, bars: Mapping[int, float]) -> bool:
    settings = Settings(ledger=path, accounts={"openai": {"api_key": "none"}}, track=False, load=())
    good = True
    async with AsyncClient(settings=settings) as client:
        transport = httpx2.ASGITransport(create_app(client))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            await timed(http, places(30)[0])
            gc.collect()
            gc.freeze()  # as `serve` does when it has started
            for days, bar in bars.items():
                for place in places(days):
                    times = [await times_of(http, ledger, place, older=4 + n % (days - 4)) for n in range(requests + 1)]
                    anew, again, revised = (
                        p95(each) for each in zip(*times[1:], strict=True)
                    )  # the first one compiles
                    good = good and max(anew, again, revised) <= bar
                    shown = f"{days:3} days {place.partition('&')[0]:30} p95 {anew:6.1f} ms, again {again:6.1f} ms"
                    print(f"{shown}, an older day's {revised:6.1f} ms, of {bar:.0f}", flush=True)
    return good


async def times_of(http: httpx2.AsyncClient, ledger: Ledger, place: str, *, older: int) -> tuple[float, float, float]:
    """`older`: days before the newest."""
    await ledger.database.write(add_batch)
    anew, again = await timed(http, place), await timed(http, place)
    await ledger.database.write(partial(add_batch, older=older))
    return anew, again, await timed(http, place)


async def add_batch(session: Session, older: int = 0) -> None:
    """One more, as another process's roll adds it."""
    day = FIRST_DAY + DAYS - 1 - older
    tally = Tally()
    for which in (Kind(0), Kind.MODELS):
        group = next(groups(bool(which)))
        tally.sums[which | Kind.LABELLED, day, group] = Counter(batches=1, lines=1000, usd=1, input_tokens=10**6)
    await store(session, tally.spread())
    await note_change(session, [day])


async def timed(http: httpx2.AsyncClient, place: str) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    (await http.get(place)).raise_for_status()
    return (time.perf_counter() - began) * 1000


def p95(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.95) - 1]


async def rows_of_sums(ledger: Ledger) -> int:
    counted = "SELECT count(*) AS rows FROM batchmeter.spend_sum"
    row = await ledger.database.read(lambda session: session.row(session.statement(counted)))
    return int(row["rows"]) if row else 0


async def run(requests: int, combinations: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "ledger.db")
        ledger = open_ledger(path, clock=lambda: LAST)
        await ledger.open()
        await fill(ledger, 1_000_000, DAYS, combinations)
        print(f"{await rows_of_sums(ledger):,} rows of sums", flush=True)
        try:
            return await measure(path, ledger, requests, SIZES[combinations])
        finally:
            await ledger.aclose()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20)
    requests = parser.parse_args().requests
    good = {combinations: asyncio.run(run(requests, combinations)) for combinations in SIZES}
    return int(not all(good.values()))


if __name__ == "__main__":
    sys.exit(main())
