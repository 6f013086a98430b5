"""Naps that an event ends early, events per batch, and ledger calls that a cancellation must not cut in two."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

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
    """Who waits for which batch, in this process."""

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


@dataclass(slots=True)
class Newest:
    """What was seen lately: a set that does not grow for ever."""

    most: int = 10_000
    _seen: set[Hashable] = field(default_factory=set[Hashable])

    def new(self, thing: Hashable) -> bool:
        """True the first time."""
        if thing in self._seen:
            return False
        if len(self._seen) >= self.most:
            self._seen.clear()
        self._seen.add(thing)
        return True

    def forget(self) -> None:
        self._seen.clear()


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
