"""One thread with a queue, for SQLite's connection: jobs run one after the other, their results go back to the event loops."""

import asyncio
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, cast
from weakref import WeakSet

Returned = TypeVar("Returned")

FORK_SECONDS = 5.0
"""How long a fork waits for a job to end."""
Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Thread:
    """One thread with a queue: works off one job after the other; its results go back to the event loops they came from.

    An executor's futures, locks and contexts cost more than most of the ledger's transactions; this is the hop alone.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self.at_work = threading.Lock()
        _THREADS.add(self)
        # A daemon: a process that ends without closing its ledger must not hang on it.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], Returned]) -> Returned:
        """Its result or error. A caller that is cancelled no longer waits; the work is done all the same."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._jobs.put((loop, future, work))
        return cast("Returned", await future)

    def stop(self) -> None:
        """Close after all waiting work is done."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, work = job
            try:
                with self.at_work:
                    result = work()
            except BaseException as error:  # noqa: BLE001 - for whoever waits
                _tell(loop, _fail, future, error)
            else:
                _tell(loop, _succeed, future, result)
            del job, future, work  # or the last job's objects would live until the next


def _tell(
    loop: asyncio.AbstractEventLoop,
    how: Callable[["asyncio.Future[Any]", Any], None],
    future: "asyncio.Future[Any]",
    outcome: object,
) -> None:
    try:
        loop.call_soon_threadsafe(how, future, outcome)
    except RuntimeError:
        return  # the loop has ended, and nobody waits any more


def _succeed(future: "asyncio.Future[Any]", result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


_THREADS: "WeakSet[Thread]" = WeakSet()
_HELD: list[threading.Lock] = []


def _before_fork() -> None:
    """A child would inherit SQLite's own locks as they are, and could wait forever for a thread that it does not have."""
    _HELD.extend(each.at_work for each in list(_THREADS) if each.at_work.acquire(timeout=FORK_SECONDS))


def _after_fork() -> None:
    while _HELD:
        _HELD.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
