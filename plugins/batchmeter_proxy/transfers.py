"""Shares of each key, turns for uploads and downloads, places for strangers: slow ones hold up nobody else."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from .errors import Refusal

_AGAIN_SECONDS = 5


@dataclass(slots=True)
class _Share:
    """One key's."""

    free: asyncio.Semaphore
    users: int = 0


@dataclass(slots=True)
class Shares:
    """At most `most` of one key at a time; more wait `patience` seconds for their turn."""

    most: int
    patience: float
    what: str
    code: str
    """Of a refusal."""
    _shares: dict[str, _Share] = field(default_factory=dict[str, _Share], init=False)
    """By key; only of those that use theirs."""

    @asynccontextmanager
    async def turn(self, key: str | None) -> AsyncGenerator[None]:
        """Refusal (429) where none comes in time. No key, no share."""
        if key is None:
            yield
            return
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = _Share(asyncio.Semaphore(self.most))
        share.users += 1
        try:
            async with _waited(share.free, self.patience, self._full):
                yield
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[key]

    def _full(self) -> Refusal:
        message = f"This key has {self.most} {self.what} under way already."
        return Refusal(429, message, code=self.code, headers={"retry-after": str(_AGAIN_SECONDS)})


class Transfers:
    """At most `most` uploads and downloads at a time, and `most_of_key` of one key."""

    def __init__(self, most: int, most_of_key: int, patience: float) -> None:
        self.shares = Shares(most_of_key, patience, "uploads and downloads", "too_many_transfers")
        self._free = asyncio.Semaphore(most)
        self._patience = patience

    @asynccontextmanager
    async def turn(self, key: str | None) -> AsyncGenerator[None]:
        """One transfer; Refusal where no turn comes in time: 429 for the key's share, 503 for all."""
        async with self.shares.turn(key), _waited(self._free, self._patience, _busy):
            yield


@asynccontextmanager
async def _waited(free: asyncio.Semaphore, patience: float, refusal: Callable[[], Refusal]) -> AsyncGenerator[None]:
    if free.locked():
        try:
            async with asyncio.timeout(patience):
                await free.acquire()
        except TimeoutError:
            raise refusal() from None
    else:
        await free.acquire()  # at once: most calls are spared the cost of a timer
    try:
        yield
    finally:
        free.release()


class Places:
    """At most `most` at a time; who finds none is refused at once."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextmanager
    def place(self) -> Generator[None]:
        if not self._left:
            raise _busy("requests without a key")
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


def _busy(what: str = "uploads and downloads") -> Refusal:
    headers = {"retry-after": str(_AGAIN_SECONDS), "connection": "close"}
    return Refusal(503, f"Too many {what} are under way; try again.", code="busy", headers=headers)
