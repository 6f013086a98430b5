"""Ledger calls that a cancellation must not cut in two: a claim nobody would know of, an acceptance not written down."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Taken = TypeVar("Taken")


async def to_the_end(writing: Awaitable[Taken]) -> Taken:
    """What `writing` returns; a cancellation in the middle is raised when it has finished."""
    return await take(writing, _nothing)


async def take(claiming: Awaitable[Taken], give_back: Callable[[Taken], Awaitable[object]]) -> Taken:
    """What `claiming` returns; a cancellation in the middle lets it finish and gives its claims back first."""
    task = asyncio.ensure_future(claiming)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await give_back(await task)
        raise


async def _nothing(_: object) -> None: ...
