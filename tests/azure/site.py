"""One ledger, one Azure account, and clients that come and go; time passes when somebody waits."""

import asyncio
import json

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.ledger import open_ledger
from batchmeter.testing.providers import lines_of
from batchmeter.testing.recorder import Recorder

HOUR = 3600
NOW = 1_744_402_048
"""When the fake resource makes its batches."""


class Clock:
    """The ledger's; sleeping moves it."""

    def __init__(self):
        self.now = NOW * 1000
        self.naps = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.naps.append(seconds)
        self.now += round(seconds * 1000)
        await asyncio.sleep(0)


class Site:
    """Clients on one ledger file, one after the other or at the same time; whoever opens one closes it."""

    def __init__(self, azure, path):
        self.azure, self.path = azure, path
        self.clock, self.log = Clock(), Recorder()
        self.account = {"provider": "azure", "endpoint": azure.url, "api_key": "azure-key-0123456789"}
        azure.pending = 0

    def client(self, *, plugins=(), **account):
        settings = Settings(
            default_account="azure", accounts={"azure": {**self.account, "retry_queue_full": HOUR, **account}}
        )
        ledger = open_ledger(self.path, clock=self.clock)
        return Opened(
            AsyncClient(settings=settings, ledger=ledger, plugins=[self.log, *plugins], track=False), self.clock
        )

    def creates(self):
        """Bodies of what was submitted, without our tag."""
        posts = [one for one in self.azure.received if (one.method, one.path[-8:]) == ("POST", "/batches")]
        bodies = [json.loads(one.body) for one in posts]
        for body in bodies:
            (body.get("metadata") or {}).pop("batchmeter_id", None)
        return bodies

    def statuses(self):
        return [held["shown"]["status"] for held in self.azure.batches.values()]


class Opened:
    """A client whose waiting moves the clock, and that delivers nothing by itself."""

    def __init__(self, client, clock):
        self.client, self.clock = client, clock

    async def __aenter__(self):
        await self.client.open()
        (await self.client.ready()).sleep = self.clock.sleep
        tracker = self.client.tracker
        tracker.poller.sleep = self.clock.sleep
        deliverer, *_ = self.client._running  # events are delivered when `turn` says so
        deliverer.cancel()
        await asyncio.gather(deliverer, return_exceptions=True)
        return self.client

    async def __aexit__(self, *_):
        await self.client.aclose()


async def submitted(client, **fields):
    file = await client.files.create(file=("a.jsonl", lines_of(3, "batch4o")), purpose="batch")
    fields = {"endpoint": "/v1/chat/completions", "metadata": {"team": "search"}} | fields
    return await client.batches.create(input_file_id=file.id, **fields)


async def pass_time(site, *clients, minutes):
    """A turn of every client a minute."""
    for _ in range(minutes):
        await asyncio.gather(*(turn(client) for client in clients))
        site.clock.now += 60_000


async def turn(client):
    """All that is due now is followed, and delivered."""
    await client.tracker.once()
    await client.deliverer.drain(60)


async def endings(client):
    stored = await client.ledger.events()
    return [(one.event.type, one.event.batch_id) for one in stored if one.event.type != "acreate_batch"]
