"""NOTIFY and LISTEN: other processes hear of new work at once. Hints only; whoever misses one polls."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from batchmeter.ledger.session import TOPICS, Topic

from .server import Connection

GATHER_SECONDS = 0.05
"""How long topics are gathered: NOTIFY makes commits queue, so it gets a transaction of its own, and rarely."""
GATHERED_AT_MOST = 4
"""So many times as long."""
RECONNECT_SECONDS = 5.0

_CHANNEL = "batchmeter"


class Announcer:
    """Tells of this process's commits."""

    def __init__(self, pool: "AsyncConnectionPool[Connection]") -> None:
        self._pool = pool
        self._topics: set[Topic] = set()
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def announce(self, topics: Collection[Topic]) -> None:
        self._topics.update(topics)
        if self._topics and self._task is None:
            self._task = asyncio.create_task(self._send(), name="batchmeter-announce")

    async def aclose(self) -> None:
        self._closing.set()
        if self._task is not None:
            await self._task

    async def _send(self) -> None:
        while self._topics:
            await self._gather()
            topics, self._topics = self._topics, set()
            await self._notify(topics)
        self._task = None

    async def _gather(self) -> None:
        """Longer while every connection works: a hint is worth a further one only where that does not end."""
        for _ in range(GATHERED_AT_MOST):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), GATHER_SECONDS)
            if self._closing.is_set() or self._pool.get_stats().get("pool_available"):
                return

    async def _notify(self, topics: set[Topic]) -> None:
        try:
            async with self._pool.connection(timeout=1) as connection:
                notes = "; ".join(f"NOTIFY {_CHANNEL}, '{topic}'" for topic in topics)
                # A hint need not wait for the disk; one message, one round trip.
                text = f"BEGIN; SET LOCAL synchronous_commit TO off; {notes}; COMMIT"
                await connection.execute(text.encode(), prepare=False)
        except (psycopg.Error, PoolTimeout):
            return  # the server is away: so is everybody who could listen


async def listen(conninfo: str, heard: Callable[[Topic], None]) -> None:
    """Until cancelled. After every (re)connection all topics are reported, because some may have gone unheard."""
    while True:
        try:
            await _listen_once(conninfo, heard)
        except psycopg.Error:  # away, full, or a standby for now
            await asyncio.sleep(RECONNECT_SECONDS)


async def _listen_once(conninfo: str, heard: Callable[[Topic], None]) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        await connection.execute(f"LISTEN {_CHANNEL}".encode())
        for topic in TOPICS.values():
            heard(topic)
        async for notice in connection.notifies():
            if notice.payload in TOPICS:
                heard(TOPICS[notice.payload])
