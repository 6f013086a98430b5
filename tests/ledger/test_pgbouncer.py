"""Behind PgBouncer in transaction mode the ledger keeps nothing in a session: no prepared statements, no LISTEN."""

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from batchmeter import AsyncClient, hookimpl
from batchmeter.cli.ledger_check import check
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import DeliveryResult, Reschedule

SETTINGS = """
[databases]
postgres = host={folder} dbname=postgres user=ledger

[pgbouncer]
pool_mode = transaction
default_pool_size = 3
listen_addr =
unix_socket_dir = {folder}
listen_port = 6432
auth_type = any
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
"""


@pytest.fixture(scope="module")
def pooler(postgres_cluster):
    """The address of a pooler in front of the tests' server: three server connections for everybody."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    folder = Path(postgres_cluster.url.partition("host=")[2])
    settings = folder / "pgbouncer.ini"
    settings.write_text(SETTINGS.format(folder=folder))
    user = {} if os.geteuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}
    process = subprocess.Popen([program, "-q", str(settings)], cwd=folder, **user)
    url = f"{postgres_cluster.url}&port=6432"
    try:
        while not (folder / ".s.PGSQL.6432").exists():
            assert process.poll() is None, (folder / "pgbouncer.log").read_text()
            time.sleep(0.01)  # it tells nobody when it is ready
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def url(pooler, emptied):
    emptied()
    return pooler


async def opened(url):
    ledger = open_ledger(url)
    await ledger.open()
    return ledger


async def test_four_workers_settle_and_deliver_everything(url, make):
    """Each statement runs often enough to be prepared, on whichever of the server's connections is free."""
    workers = [await opened(url) for _ in range(4)]
    await asyncio.gather(*(make.record(workers[number % 4]) for number in range(80)))

    async def work(ledger, owner):
        while claims := await ledger.claim_due(owner=owner, limit=5, lease_seconds=60):
            await ledger.renew(claims, lease_seconds=60)
            first, *rest = claims if len(claims) > 1 else (None, *claims)
            if first is not None:
                await ledger.reschedule(
                    [Reschedule(first, 0)]
                )  # due for each worker, however far apart their clocks are
            await asyncio.gather(*(make.settle_claim(ledger, claim) for claim in rest))

    await asyncio.gather(*(work(ledger, f"w{number}") for number, ledger in enumerate(workers)))
    await work(workers[0], "last")  # one may stop early where all that it saw was being taken by others

    async def deliver(ledger, owner):
        while found := await ledger.claim_deliveries("file", owner=owner, limit=8, lease_seconds=60):
            await ledger.finish_deliveries([DeliveryResult(one, "delivered") for one in found])

    await asyncio.gather(*(deliver(ledger, f"d{number}") for number, ledger in enumerate(workers)))
    await deliver(workers[0], "last")
    assert {(gauge.pending, gauge.delivered) for gauge in await workers[0].gauges()} == {(0, 160)}
    assert (await check(workers[0])).sound
    for ledger in workers:
        await ledger.aclose()


async def test_there_is_nothing_to_listen_to(url):
    ledger = await opened(url)
    async with asyncio.timeout(5):
        await ledger.listen(pytest.fail)
    await ledger.aclose()


class Keeper:
    def __init__(self):
        self.seen: asyncio.Queue = asyncio.Queue()

    @hookimpl
    async def acreate_batch(self, event):
        self.seen.put_nowait(event.batch_id)


async def test_a_client_s_deliveries_do_not_stay_pending(url, make):
    keeper, other = Keeper(), await opened(url)
    async with AsyncClient(ledger=url, plugins=[keeper], track=False, environ={}) as client:
        (name,) = (name for name in client.plugins.loggers if "keeper" in name.lower())
        for number in range(20):
            await make.record(other, batch=make.batch(f"b{number}"), loggers=[name])
        async with asyncio.timeout(20):
            assert {await keeper.seen.get() for _ in range(20)} == {f"b{number}" for number in range(20)}
    assert [gauge.pending for gauge in await other.gauges()] == [0]
    await other.aclose()
