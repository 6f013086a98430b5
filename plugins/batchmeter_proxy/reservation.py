"""A lease on an answer that is being made, renewed for as long as somebody makes it."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from batchmeter.access import Access
from batchmeter.errors import LedgerError

log = logging.getLogger("batchmeter")

LEASE = 15.0
"""Seconds for which a process that died keeps others waiting."""


@asynccontextmanager
async def held(access: Access, scope: str, name: str, *, lease: float = LEASE) -> AsyncGenerator[None]:
    """Inside, the answer stays reserved; nobody ends the reservation but its owner."""
    renewing = asyncio.create_task(_renew(access, scope, name, lease))
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


async def _renew(access: Access, scope: str, name: str, lease: float) -> None:
    while True:
        await asyncio.sleep(lease / 3)
        try:
            await access.renew_answer(scope, name, lease_seconds=lease)
        except LedgerError as error:
            log.warning("a reservation could not be renewed: %s", error)
