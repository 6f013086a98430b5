"""A loop that is cancelled in the middle of a ledger call ends, whatever comes of the call."""

import asyncio

import pytest

from batchmeter.errors import LedgerError
from batchmeter.tracker.lease import take, to_the_end


async def stopped_in_the_middle(call):
    """The task of a loop that goes on after errors, cancelled while `call` runs, which then ends."""
    begun, end = asyncio.Event(), asyncio.Event()

    async def work():
        begun.set()
        await end.wait()
        raise LedgerError("the server is away")

    async def loop():
        for _ in range(3):
            try:
                await call(work())
            except LedgerError:
                await asyncio.sleep(0)

    task = asyncio.create_task(loop())
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    end.set()
    await asyncio.wait({task})
    return task


async def give_back(claims):
    pytest.fail("nothing was claimed")


@pytest.mark.parametrize("call", [lambda work: take(work, give_back), to_the_end], ids=["take", "to_the_end"])
async def test_a_cancelled_loop_ends_though_its_call_fails(call, caplog):
    assert (await stopped_in_the_middle(call)).cancelled()
    assert ["which failed: the server is away" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_loop_gives_its_claims_back(times):
    claimed, begun, end, back = object(), asyncio.Event(), asyncio.Event(), []

    async def claiming():
        begun.set()
        await end.wait()
        return claimed

    async def keep(claims):
        await asyncio.sleep(0)
        back.append(claims)

    task = asyncio.create_task(take(claiming(), keep))
    await begun.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    end.set()
    await asyncio.wait({task})
    assert (task.cancelled(), back) == (True, [claimed])
