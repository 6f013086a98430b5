"""Leases: a claim is renewed while long work goes on, and the work is cancelled when its lease is lost.

Also naps that an event ends early, and ledger calls that a cancellation must not cut in two.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from batchmeter.errors import LedgerError
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Claim

log = logging.getLogger("batchmeter")


class LeaseLostError(Exception):
    """Somebody else holds the batch now."""


@dataclass(slots=True, eq=False)
class Held:
    """A claim in use, in its newest form."""

    claim: Claim
    work: asyncio.Task[Any]
    lost: bool = False


@dataclass
class Leases:
    """All that one process holds, renewed together: one statement, however many batches wait for their turn."""

    ledger: Ledger
    seconds: float
    _held: set[Held] = field(default_factory=set[Held])
    _nudge: asyncio.Event = field(default_factory=asyncio.Event)
    _keeper: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def held(self, claim: Claim) -> AsyncGenerator[None]:
        """Renewed until the block ends; LeaseLostError when it was taken over."""
        work = asyncio.current_task()
        assert work is not None
        mine = Held(claim, work)
        self._held.add(mine)
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._work(), name="batchmeter-leases")
        if self._left(mine) < 1 / 2:
            self._nudge.set()
        try:
            yield
        except asyncio.CancelledError:
            if mine.lost and work.uncancel() == 0:
                raise LeaseLostError(claim.tracked.batch_id) from None
            raise
        finally:
            self._held.discard(mine)
            if not self._held:  # no await here: it could lose what the block has taken
                self._keeper.cancel()
                self._keeper = None

    async def _work(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.seconds / 4):
                    await self._nudge.wait()
            self._nudge.clear()
            await self._renew([mine for mine in self._held if self._left(mine) < 2 / 3])

    def _left(self, mine: Held) -> float:
        """Of the lease, as a share."""
        return (mine.claim.expires_at - self.ledger.now()) / 1000 / self.seconds

    async def _renew(self, due: list[Held]) -> None:
        if not due:
            return
        try:
            renewed = await self.ledger.renew([mine.claim for mine in due], lease_seconds=self.seconds)
        except Exception as error:  # the ledger may be back before they end
            log.warning("%d leases not renewed: %s", len(due), error, exc_info=not isinstance(error, LedgerError))
            return
        newest = {(claim.tracked.account, claim.tracked.batch_id, claim.token): claim for claim in renewed}
        for mine in due:
            claim = mine.claim
            found = newest.get((claim.tracked.account, claim.tracked.batch_id, claim.token))
            if found is not None:
                mine.claim = found
            elif mine in self._held:  # else its work has just ended, and so has the claim
                mine.lost = True
                mine.work.cancel()


def owner_name() -> str:
    """A name for this process's claims, which no other has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


Taken = TypeVar("Taken")
Sleep = Callable[[float], Awaitable[None]]


async def nap(sleep: Sleep, event: asyncio.Event, seconds: float) -> None:
    """Sleep, or until the event is set."""
    both: set[asyncio.Future[Any]] = {asyncio.ensure_future(sleep(seconds)), asyncio.ensure_future(event.wait())}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)


class Watch:
    """Waits for batches, in this process."""

    def __init__(self) -> None:
        self._events: defaultdict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)

    def changed(self, account: str, batch_id: str) -> None:
        for event in self._events.get((account, batch_id), ()):
            event.set()

    @contextmanager
    def on(self, account: str, batch_id: str) -> Generator[asyncio.Event]:
        key, event = (account, batch_id), asyncio.Event()
        self._events[key].add(event)
        try:
            yield event
        finally:
            self._events[key].discard(event)
            if not self._events[key]:
                del self._events[key]


async def to_the_end(writing: Awaitable[Taken]) -> Taken:
    """The result of `writing`; a cancellation in the middle is raised when it has finished."""
    return await take(writing, _nothing)


async def take(claiming: Awaitable[Taken], give_back: Callable[[Taken], Awaitable[object]]) -> Taken:
    """The result of `claiming`; a cancellation in the middle lets it finish and gives its claims back first.

    Further cancellations wait for that, too. It stays a cancellation where that fails: a loop that goes on after errors
    would never end.
    """
    task = asyncio.ensure_future(claiming)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        undoing = asyncio.create_task(_undo(task, give_back))
        while not undoing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({undoing})
        raise


async def _undo(task: asyncio.Future[Taken], give_back: Callable[[Taken], Awaitable[object]]) -> None:
    try:
        await give_back(await task)
    except LedgerError as error:
        log.warning("stopped in the middle of a ledger call, which failed: %s", error)
    except Exception:
        log.exception("stopped in the middle of a ledger call, which failed")


async def _nothing(_: object) -> None: ...
