"""Every engine under the same tests, a clock that tests turn, and records to put in."""

import asyncio
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from batchmeter.events import (
    BATCH_KINDS,
    BatchCreated,
    BatchFailed,
    BatchSucceeded,
    Outcome,
    Settlement,
    Subscription,
    event_id,
)
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import Submission
from batchmeter.models import Attribution, Batch, Cost, LineCounts, Usage
from batchmeter.pricing.groups import Group, GroupKey

from .emptied import Emptied


@dataclass
class Clock:
    """Epoch milliseconds, moved by hand."""

    now: int = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@dataclass
class Maker:
    """Submissions, batches, events and settlements, and the ledger calls that put them in."""

    clock: Clock
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    subscribed: set = field(default_factory=set)

    def submission(self, account="openai", **fields) -> Submission:
        metadata = fields.pop("metadata", {"team": "search"})
        return Submission(account=account, provider="openai", metadata=metadata, **fields)

    def batch(self, batch_id=None, status="in_progress", **fields) -> Batch:
        return Batch(id=batch_id or f"batch_{next(self.numbers)}", status=status, endpoint="/v1/embeddings", **fields)

    def event(self, kind, account, batch, revision=1, **fields):
        return kind(
            id=event_id(account, batch.id, kind.model_fields["type"].default, revision),
            time=datetime.fromtimestamp(self.clock.now / 1000, UTC),
            account=account,
            provider="openai",
            batch_id=batch.id,
            batch=batch,
            revision=revision,
            **fields,
        )

    def created(self, account, batch) -> BatchCreated:
        return self.event(BatchCreated, account, batch)

    def ending(self, account, batch, revision=1):
        kind = BatchSucceeded if batch.status == "completed" else BatchFailed
        settlement = self.settlement(account, batch, revision)
        outcome = {name: getattr(settlement, name) for name in Outcome.model_fields}
        return self.event(kind, account, batch, revision, **outcome)

    def settlement(self, account, batch, revision=1, total="0.000738") -> Settlement:
        return Settlement(
            account=account,
            provider="openai",
            batch_id=batch.id,
            batch=batch,
            revision=revision,
            status=batch.status,
            settled_at=datetime.fromtimestamp(self.clock.now / 1000, UTC),
            request_counts=LineCounts(total=3, succeeded=3),
            usage=Usage(input_tokens=10, output_tokens=4),
            cost=Cost(total=Decimal(total), known=Decimal(total)),
        )

    def groups(self):
        return {
            GroupKey("gpt-4o-mini", prompt_over=272_000, geo="us"): Group(3, {"input": 10, "output": 4}, reasoning=1),
            GroupKey(None, processing="standard"): Group(1, {}),
        }

    async def record(self, ledger, account="openai", batch=None, loggers=("file",), due_in=0.0, **submission):
        batch = batch or self.batch()
        await self.subscribe(ledger, loggers)
        return await ledger.record_created(
            self.submission(account, callbacks=tuple(loggers), **submission),
            batch,
            self.created(account, batch),
            next_poll_at=ledger.now() + round(due_in * 1000),
        )

    async def subscribe(self, ledger, loggers) -> None:
        """As callbacks of every kind, so that a test says which loggers a batch is owed to."""
        new = [name for name in loggers if (ledger, name) not in self.subscribed]
        if new:
            await ledger.subscribe(tuple(Subscription(name, frozenset(BATCH_KINDS), scoped=True) for name in new))
        self.subscribed |= {(ledger, name) for name in new}  # now: who records meanwhile waits for it too

    async def settle(self, ledger, tracked, status="completed", loggers=("file",), **more) -> bool:
        claim = await ledger.claim(tracked.account, tracked.batch_id, owner="w", lease_seconds=60)
        return await self.settle_claim(ledger, claim, status, loggers, **more)

    async def settle_claim(self, ledger, claim, status="completed", loggers=("file",), **more) -> bool:
        account = claim.tracked.account
        batch = claim.tracked.batch.model_copy(update={"status": status})
        settlement = self.settlement(account, batch)
        await self.subscribe(ledger, loggers)
        event = self.ending(account, batch)
        return await ledger.settle(claim, settlement, self.groups(), event, callbacks=loggers, **more)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(clock):
    return Maker(clock)


@pytest.fixture
def attribution():
    return Attribution(key="key_1", user="ada", team="search", tags=("nightly",))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """An empty ledger's address, for each engine. On PostgreSQL its tables are there, and those of the module's STORES."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    return request.getfixturevalue("emptied")(*getattr(request.module, "STORES", ()))


@pytest.fixture
def new_url(url):
    """The address of a place without a ledger."""
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS batchmeter CASCADE")
    return url


@pytest.fixture(scope="session")
def emptied(postgres_server):
    made = Emptied(postgres_server)
    yield made
    made.connection.close()


@pytest.fixture
def server_url(emptied):
    """An empty ledger's address on PostgreSQL, where writers are many."""
    return emptied()


@pytest.fixture
def a_lock_is_waited_for(server_url):
    """`await a_lock_is_waited_for()`: until a transaction waits for another one's lock."""

    def look() -> None:
        with psycopg.connect(server_url, autocommit=True) as connection:
            while not connection.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchall():
                pass

    return lambda: asyncio.to_thread(look)


@dataclass
class Cluster:
    """A private PostgreSQL server on a Unix socket in a temporary folder."""

    url: str
    restart: Callable[[], None]
    """At once, as a crash would."""


@pytest.fixture(scope="session")
def postgres_server(postgres_cluster):
    return postgres_cluster.url


@pytest.fixture(scope="session")
def postgres_cluster():
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = programs[-1].parent if programs else shutil.which("initdb") and Path(shutil.which("initdb")).parent
    if not found:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="bm-pg-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")) as folder:
        user = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            account = pwd.getpwnam("postgres")
            user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(folder, account.pw_uid, account.pw_gid)

        def run(program, *arguments):
            command = [str(found / program), *arguments]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)

        data = f"{folder}/data"
        run("initdb", "-D", data, "-U", "ledger", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = (
            f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c jit=off -c shared_buffers=64MB"
        )
        run("pg_ctl", "-D", data, "-l", f"{folder}/log", "-w", "-o", options, "start")
        try:
            yield Cluster(
                f"postgresql://ledger@/postgres?host={folder}",
                lambda: run("pg_ctl", "-D", data, "-l", f"{folder}/log", "-w", "-m", "immediate", "restart"),
            )
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


@pytest.fixture
async def open_another(url, clock):
    """Opens further ledgers on the same store, as other processes would."""
    opened = []

    async def open_one():
        ledger = open_ledger(url, clock=clock)
        opened.append(ledger)
        await ledger.open()
        return ledger

    yield open_one
    for ledger in opened:
        await ledger.aclose()


@pytest.fixture
async def ledger(url, clock):
    ledger = open_ledger(url, clock=clock)
    await ledger.open()
    yield ledger
    await ledger.aclose()
