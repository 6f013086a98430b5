"""How many batches a second a ledger claims, reschedules and settles, against the plain driver as the limit.

python benchmarks/tracking.py [--rows 1000000] [--seconds 5] [--workers 1,2,4] [--sqlite FILE] [--postgres postgresql://…]

`driver` and `follow` claim a hundred due batches and reschedule them, `driver_settle` and `settle` claim and settle
them: the driver with the same statements, as many to a commit, and documents rendered beforehand. A ledger that is
filled already is used as it is. Exits with 1 where a claim of one batch takes 10 ms or more in the median.
"""

import argparse
import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchmeter.events import BATCH_KINDS, BatchSucceeded, Settlement, Subscription, event_id
from batchmeter.ledger import open_ledger
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Claim, Reschedule, Submission
from batchmeter.ledger.serialize import dump, dump_submission, event_columns, settlement_columns
from batchmeter.ledger.transactions import GROUP_SIZE
from batchmeter.models import Batch
from batchmeter_postgres.database import statements as postgres_statements
from batchmeter_sqlite.database import statements as sqlite_statements

ACCOUNTS = 20
BLOCK = 100
HOUR = 3_600_000
LOGGERS = ["file", "otel"]
STATEMENTS = {"sqlite": sqlite_statements, "postgres": postgres_statements}
KINDS = ("driver", "follow", "driver_settle", "settle")
COLUMNS = "account, batch_id, submission, snapshot, status, ended, recorded_at, next_poll_at"
# the sample's ids with each row's own in their place
FILL = {
    "sqlite": f"""WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :rows),
            named (n, account, batch_id) AS (SELECT n, 'account' || (n % {ACCOUNTS}), 'batch_' || n FROM n)
        INSERT INTO batch ({COLUMNS})
        SELECT account, batch_id, replace(:submission, 'account_0', account), replace(:snapshot, 'batch_0', batch_id),
            'in_progress', 0, n, n FROM named""",
    "postgres": f"""WITH named AS (
            SELECT n, 'account' || (n %% {ACCOUNTS}) AS account, 'batch_' || n AS batch_id
            FROM generate_series(1, %(rows)s) AS n)
        INSERT INTO batchmeter.batch ({COLUMNS})
        SELECT account, batch_id, replace(%(submission)s, 'account_0', account),
            replace(%(snapshot)s, 'batch_0', batch_id), 'in_progress', 0, n, n FROM named""",
}


def sample() -> dict[str, object]:
    batch = Batch(
        id="batch_0", status="in_progress", endpoint="/v1/chat/completions", input_file_id="file-abc", created_at=1
    )
    submission = Submission(
        "account_0", "openai", "/v1/chat/completions", metadata={"team": "search", "job": "nightly"}
    )
    return {"submission": dump_submission(submission), "snapshot": dump(batch)}


async def fill(url: str, rows: int) -> None:
    ledger = open_ledger(url)
    await ledger.open()
    await ledger.subscribe([Subscription(logger, frozenset(BATCH_KINDS)) for logger in LOGGERS])
    filled = await ledger.list_batches(limit=1)
    await ledger.aclose()
    if filled:
        return
    with closing(connect(url)) as connection:
        connection.execute(FILL[engine(url)], {"rows": rows, **sample()})
        connection.execute("ANALYZE")


async def claim_millis(url: str) -> dict[str, float]:
    """How long one claim takes: of one batch, and of a hundred."""
    ledger = open_ledger(url)
    await ledger.open()
    found: dict[str, float] = {}
    for limit in (1, BLOCK):
        taken: list[float] = []
        for _ in range(50):
            began = time.perf_counter()
            claims = await ledger.claim_due(owner="w", limit=limit, lease_seconds=60)
            taken.append((time.perf_counter() - began) * 1000)
            await ledger.reschedule([Reschedule(claim, ledger.now() + HOUR) for claim in claims])
        taken.sort()
        found |= {f"claim_{limit}_p50_ms": round(taken[25], 2), f"claim_{limit}_p98_ms": round(taken[49], 2)}
    await ledger.aclose()
    return found


def engine(url: str) -> str:
    return "postgres" if url.startswith("postgres") else "sqlite"


def connect(url: str) -> Any:
    if engine(url) == "sqlite":
        connection = sqlite3.connect(url, isolation_level=None, timeout=60)
        connection.row_factory = sqlite3.Row
        connection.executescript(
            "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536; PRAGMA mmap_size = 268435456"
        )
        return connection
    import psycopg
    from psycopg.rows import dict_row

    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


async def follow(ledger: Ledger) -> int:
    claims = await ledger.claim_due(owner="w", limit=BLOCK, lease_seconds=60)
    later = ledger.now() + HOUR
    return await ledger.reschedule([Reschedule(claim, later, claim.tracked.batch) for claim in claims])


async def settle(ledger: Ledger) -> int:
    claims = await ledger.claim_due(owner="w", limit=BLOCK, lease_seconds=60)
    return sum(await asyncio.gather(*(settle_one(ledger, claim) for claim in claims)))


async def settle_one(ledger: Ledger, claim: Claim) -> bool:
    account, batch = claim.tracked.account, claim.tracked.batch.model_copy(update={"status": "completed"})
    settlement, event = ending(account, batch, datetime.fromtimestamp(ledger.now() / 1000, UTC))
    return await ledger.settle(claim, settlement, {}, event)


def ending(account: str, batch: Batch, now: datetime) -> tuple[Settlement, BatchSucceeded]:
    outcome: dict[str, Any] = {
        "account": account,
        "provider": "openai",
        "batch_id": batch.id,
        "batch": batch,
        "status": "completed",
    }
    event = BatchSucceeded(id=event_id(account, batch.id, "batch_success"), time=now, **outcome)
    return Settlement(**outcome, settled_at=now), event


async def work_ledger(url: str, step: Callable[[Ledger], Any], seconds: float) -> int:
    ledger = open_ledger(url)
    await ledger.open()
    done, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        done += await step(ledger)
    await ledger.aclose()
    return done


def work_driver(url: str, seconds: float) -> int:
    """Claim and reschedule by the same statements, with nothing made of the rows."""
    done, deadline = 0, time.monotonic() + seconds
    with closing(connect(url)) as connection:
        while time.monotonic() < deadline:
            now = time.time_ns() // 1_000_000
            values: dict[str, Any] = {"now": now, "owner": "d", "lease": 60_000, "limit": BLOCK}
            taken = driver_claim(connection, engine(url), values)
            released = [release(row, now) for row in taken]
            done += len(driver_each(connection, engine(url), "release_claims", released, values))
    return done


def work_driver_settle(url: str, seconds: float) -> int:
    """Claim and settle by the same statements, with documents rendered beforehand, and as many to a commit."""
    kind, documents = engine(url), settled_documents()
    done, deadline = 0, time.monotonic() + seconds
    with closing(connect(url)) as connection:
        while time.monotonic() < deadline:
            now = time.time_ns() // 1_000_000
            values: dict[str, Any] = {"now": now, "owner": "d", "lease": 60_000, "limit": BLOCK}
            for block in batched(driver_claim(connection, kind, values), GROUP_SIZE):
                names = [
                    {"account": row["account"], "batch_id": row["batch_id"], "token": row["lease_token"]}
                    for row in block
                ]
                settled = [
                    {**documents, **name, "now": now, "event_id": name["batch_id"], "place": place}
                    for place, name in enumerate(names)
                ]
                driver_settle(connection, kind, settled)
                done += len(block)
    return done


def driver_settle(connection: Any, kind: str, settled: list[dict[str, Any]]) -> None:
    """One transaction, statement by statement for all of them."""
    if kind == "sqlite":
        connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN" if kind == "postgres" else "BEGIN IMMEDIATE")
    pks = {row["place"]: row["pk"] for row in driver_run(connection, kind, "settle_batch", settled)}
    settled = [{**values, "batch_pk": pks[values["place"]]} for values in settled]
    driver_run(connection, kind, "add_settlement", settled)
    events = [{**values, "id": values["event_id"]} for values in settled]
    seqs = [row["seq"] for row in driver_run(connection, kind, "add_event", events)]
    driver_run(connection, kind, "add_deliveries", [{**settled[0], "seq": seq} for seq in seqs])
    connection.execute("COMMIT")


def driver_run(connection: Any, kind: str, name: str, items: list[dict[str, Any]]) -> list[Any]:
    sql = STATEMENTS[kind]()[name].text(items[0])
    if kind == "sqlite":
        given = [
            {key: json.dumps(value) if isinstance(value, list) else value for key, value in item.items()}
            for item in items
        ]
        return [row for item in given for row in connection.execute(sql, item).fetchall()]
    cursor = connection.cursor()
    cursor.executemany(sql, items, returning="RETURNING" in sql or sql.startswith("SELECT"))
    found: list[Any] = []
    while True:
        found += cursor.fetchall() if cursor.description else []
        if not cursor.nextset():
            return found


def settled_documents() -> dict[str, Any]:
    batch = Batch(id="batch_1000000", status="completed", endpoint="/v1/chat/completions", input_file_id="file-abc")
    settlement, event = ending("account0", batch, datetime.now(UTC))
    return {
        "snapshot": dump(batch),
        "status": "completed",
        "ended": 1,
        "known_usd": 0.0,
        "unpriced_lines": 0,
        "output_file_id": None,
        "error_file_id": None,
        "attribution": "{}",
        "revision": 1,
        **settlement_columns(settlement, "[]"),
        "type": "batch_success",
        **event_columns(event),
        "callbacks": [],
    }


def batched(rows: list[Any], size: int) -> Iterator[list[Any]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def driver_claim(connection: Any, kind: str, values: dict[str, Any]) -> list[Any]:
    spare = 1 if kind == "sqlite" else 4
    accounts = [{"account": f"account{number}"} for number in range(ACCOUNTS)]
    share = 2 * BLOCK * spare // ACCOUNTS + 1
    due = driver_each(connection, kind, "due_batches", accounts, {**values, "limit": share})
    due.sort(key=lambda row: row["next_poll_at"])
    pks = [{"pk": row["pk"]} for row in due[: BLOCK * spare]]
    return driver_each(connection, kind, "claim_batches", pks, values)


def driver_each(connection: Any, kind: str, name: str, items: list[Any], values: dict[str, Any]) -> list[Any]:
    if not items:
        return []
    if kind == "postgres" and name != "release_claims":
        columns = {key: [item[key] for item in items] for key in items[0]}
        return connection.execute(STATEMENTS[kind]()[name].text(values), {**values, **columns}).fetchall()
    connection.execute("BEGIN" if kind == "postgres" else "BEGIN IMMEDIATE")
    found = driver_run(connection, kind, name, [{**values, **item} for item in items])
    connection.execute("COMMIT")
    return found


def release(row: Any, now: int) -> dict[str, Any]:
    kept = {key: row[key] for key in ("account", "batch_id", "snapshot", "status", "ended")}
    return {**kept, "token": row["lease_token"], "next_poll_at": now + HOUR, "error": None}


def worker(kind: str, url: str, seconds: float) -> int:
    if kind.startswith("driver"):
        return {"driver": work_driver, "driver_settle": work_driver_settle}[kind](url, seconds)
    return asyncio.run(work_ledger(url, {"follow": follow, "settle": settle}[kind], seconds))


def measure(kind: str, url: str, workers: int, seconds: float) -> float:
    command = [sys.executable, __file__, "--worker", kind, "--url", url, "--seconds", str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    return sum(int(process.communicate()[0]) for process in running) / seconds


def main() -> None:
    options = arguments()
    if options.worker:
        print(worker(options.worker, options.url, options.seconds))
        return
    soon = True
    with tempfile.TemporaryDirectory() as folder:
        for url in filter(None, (options.sqlite or str(Path(folder, "ledger.db")), options.postgres)):
            started = time.monotonic()
            asyncio.run(fill(url, options.rows))
            print(
                f"{engine(url)}: {options.rows:,} open batches filled in {time.monotonic() - started:.0f} s", flush=True
            )
            claims = asyncio.run(claim_millis(url))
            print(json.dumps({"engine": engine(url), "rows": options.rows, **claims}), flush=True)
            soon = soon and claims["claim_1_p50_ms"] < 10
            report(url, options)
    sys.exit(not soon)


def report(url: str, options: argparse.Namespace) -> None:
    for workers in map(int, options.workers.split(",")):
        rates = {kind: measure(kind, url, workers, options.seconds) for kind in KINDS}
        line = {"engine": engine(url), "workers": workers, "rows": options.rows}
        print(json.dumps(line | {f"{kind}_per_s": round(rate) for kind, rate in rates.items()}), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--sqlite", help="a file to keep the ledger in")
    parser.add_argument("--postgres", help="an empty database, for a ledger of its own")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
