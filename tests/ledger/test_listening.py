"""A client on PostgreSQL acts on what other processes record without waiting for its next look."""

import asyncio
import os

from batchmeter import AsyncClient
from batchmeter.hookspecs import hookimpl
from batchmeter.ledger import open_ledger


class Keeper:
    def __init__(self) -> None:
        self.seen: asyncio.Queue = asyncio.Queue()

    @hookimpl
    async def acreate_batch(self, event) -> None:
        self.seen.put_nowait(event.batch_id)


async def asleep(_):
    await asyncio.Event().wait()


async def test_an_event_recorded_elsewhere_is_delivered_at_once(postgres_server, make):
    keeper, other = Keeper(), open_ledger(postgres_server)
    await other.open()
    async with AsyncClient(ledger=postgres_server, plugins=[keeper], track=False, environ=dict(os.environ)) as client:
        (name,) = (name for name in client.plugins.loggers if "keeper" in name.lower())
        await make.record(other, batch=make.batch("warm"), loggers=[name])
        async with asyncio.timeout(10):
            assert await keeper.seen.get() == "warm"
        client.deliverer._lanes[name].sleep = asleep  # from its next look on it has no other
        for number in range(5):
            await make.record(other, batch=make.batch(f"told{number}"), loggers=[name])
            async with asyncio.timeout(30):
                assert await keeper.seen.get() == f"told{number}"
    await other.aclose()
