"""Turns for uploads and downloads, places for strangers: slow ones of one key, or of nobody, hold up no one else."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from .errors import Refusal

_AGAIN_SECONDS = 5


@dataclass(slots=True)
class _Turns:
    """One key's share."""

    free: asyncio.Semaphore
    users: int = 0


@dataclass(slots=True)
class Transfers:
    """At most `most` at a time, and `most_of_key` of one key; more wait `patience` seconds for their turn."""

    most: int
    most_of_key: int
    patience: float
    _free: asyncio.Semaphore = field(init=False)
    _turns: dict[str, _Turns] = field(default_factory=dict[str, _Turns], init=False)
    """By key; only of those that have transfers."""

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.most)

    @asynccontextmanager
    async def turn(self, key: str | None) -> AsyncGenerator[None]:
        """One transfer; Refusal where none ends in time: 429 for the key's share, 503 for all. No key, no share."""
        if key is None:
            async with self._waited(self._free, _busy()):
                yield
            return
        turns = self._turns.setdefault(key, _Turns(asyncio.Semaphore(self.most_of_key)))
        turns.users += 1
        try:
            async with self._waited(turns.free, _full(self.most_of_key)), self._waited(self._free, _busy()):
                yield
        finally:
            turns.users -= 1
            if not turns.users:
                del self._turns[key]

    @asynccontextmanager
    async def _waited(self, free: asyncio.Semaphore, refusal: Refusal) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self.patience):
                await free.acquire()
        except TimeoutError:
            raise refusal from None
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


def _full(most: int) -> Refusal:
    message = f"This key has {most} uploads and downloads under way already."
    return Refusal(429, message, code="too_many_transfers", headers={"retry-after": str(_AGAIN_SECONDS)})


def _busy(what: str = "uploads and downloads") -> Refusal:
    headers = {"retry-after": str(_AGAIN_SECONDS), "connection": "close"}
    return Refusal(503, f"Too many {what} are under way; try again.", code="busy", headers=headers)
