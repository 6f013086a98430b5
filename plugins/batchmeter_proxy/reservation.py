"""A lease on work that one process does at a time, renewed for as long as it lasts."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from batchmeter.errors import LedgerError

log = logging.getLogger("batchmeter")

LEASE = 15.0
"""Seconds for which a process that died keeps others waiting."""


@asynccontextmanager
async def held(renew: Callable[[float], Awaitable[None]], *, lease: float = LEASE) -> AsyncGenerator[None]:
    """Inside, the reservation stays its owner's: `renew` is called with the seconds that it is to last."""
    renewing = asyncio.create_task(_renew(renew, lease))
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


async def _renew(renew: Callable[[float], Awaitable[None]], lease: float) -> None:
    while True:
        await asyncio.sleep(lease / 3)
        try:
            await renew(lease)
        except LedgerError as error:
            log.warning("a reservation could not be renewed: %s", error)
