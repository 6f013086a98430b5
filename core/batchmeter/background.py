"""Follow open batches inside the app itself: nothing to run beside it."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from . import api
from .client import AsyncClient

_lock = threading.Lock()
_users = 0
"""Blocks of `tracking()` that are open over the default client."""


@asynccontextmanager
async def tracking(client: AsyncClient | None = None) -> AsyncGenerator[None]:
    """`async with batchmeter.tracking():` in an app's lifespan; whatever BATCHMETER_TRACK says.

    Over the default client, which is closed (delivering what is due) when the last such block ends; or over `client`,
    which is opened in this loop and, if it was not open before, closed again. Any number of processes may track one
    ledger: each batch is claimed by a lease, so each event is recorded once.
    """
    if client is not None:
        async with _over(client):
            yield
        return
    await asyncio.to_thread(_enter)
    try:
        yield
    finally:
        await asyncio.to_thread(_leave)


def start_tracking() -> None:
    """As `tracking`, from code without a loop (WSGI, Celery, threads) and until the process ends or `close()`.

    Call it as often as you like. In a forked child (gunicorn's preload, Celery's prefork) the parent's tracker goes on
    in the parent; the child gets one of its own with its first call to batchmeter.
    """
    api.engine.track()


@asynccontextmanager
async def _over(client: AsyncClient) -> AsyncGenerator[None]:
    mine = not client.is_open
    await client.open()
    task = client.start_tracking()
    try:
        yield
    finally:
        if mine:
            await client.aclose()
        elif not client.settings.track:
            task.cancel()
            await asyncio.wait([task])


def _enter() -> None:
    global _users  # noqa: PLW0603 - one default client, one count
    with _lock:
        api.engine.track()
        _users += 1


def _leave() -> None:
    global _users  # noqa: PLW0603 - as above
    with _lock:
        _users -= 1
        if _users == 0:
            api.engine.close()
