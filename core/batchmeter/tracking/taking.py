"""Claims that a cancelled task would lose: made by the ledger, known to nobody, leased until the lease runs out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Taken = TypeVar("Taken")


async def take(claiming: Awaitable[Taken], give_back: Callable[[Taken], Awaitable[object]]) -> Taken:
    """What `claiming` returns; a cancellation in the middle lets it finish and gives its claims back first."""
    task = asyncio.ensure_future(claiming)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await give_back(await task)
        raise
