"""Engine: an AsyncClient on an event loop in a thread of its own, for calls from any thread or loop.

`Client` and the module-level functions run on one. So both work inside and outside a running loop, share one pool of
connections, and go on tracking between calls.
"""

import asyncio
import atexit
import concurrent.futures
import logging
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib import import_module
from queue import SimpleQueue
from types import FrameType
from typing import Any, TypeVar, cast
from weakref import WeakSet

from batchmeter.calls.uploads import CALLERS_LOOP
from batchmeter.errors import ClosedError
from batchmeter.runtime.runtime import asyncio_loop

from .client import AsyncClient

log = logging.getLogger("batchmeter")

Result = TypeVar("Result")
Work = Callable[[AsyncClient], Awaitable[Result]]

EXIT_SECONDS = 5.0
"""How long the interpreter's exit waits for deliveries under way."""
GRACE_SECONDS = 1.0
"""How long closing waits for calls under way; one that waits for a batch would take hours."""
_LOOK_SECONDS = 0.01
_ENDING = "the interpreter is ending and batchmeter begins nothing new: join your threads before the main thread ends"


class Engine:
    """Owns the thread, the loop and the client. Start is lazy; `close` may be called twice."""

    def __init__(self, make: "Callable[[], AsyncClient]") -> None:
        self._make = make
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._callers: WeakSet[threading.Thread] = WeakSet()
        self._at_exit = False
        self._ended = False
        self._tracking = False
        _ENGINES.add(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that work runs on; None before the first call."""
        return None if self._session is None else self._session.loop

    def track(self) -> None:
        """Follow open batches from now on, whatever the settings say; in a forked child, from its first call on."""
        self._tracking = True
        self.call(_nothing)

    def call(self, work: Work[Result], only: "_Session | None" = None) -> Result:
        """Run to the end, blocking this thread (never the engine's own). ClosedError when it is closed meanwhile."""
        self._not_from_within()
        future = self.post(work, only)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def acall(self, work: Work[Result], only: "_Session | None" = None) -> Result:
        """Run to the end without blocking the caller's loop; cancelling this cancels the work."""
        before = CALLERS_LOOP.set(asyncio_loop())
        try:
            future = self.post(work, only)
        finally:
            CALLERS_LOOP.reset(before)
        return await asyncio.wrap_future(future)

    def step(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """As `call`, of a step that needs no client."""
        return self.call(lambda _: step())

    async def astep(self, step: Callable[[], Awaitable[Result]]) -> Result:
        return await self.acall(lambda _: step())

    def steps(self) -> "Steps":
        """The steps that open something."""
        with self._lock:
            return Steps(self, self._started())

    def post(self, work: Work[Result], only: "_Session | None" = None) -> "Future[Result]":
        """Start, from any thread, without waiting; ClosedError where `only` is a session that was closed."""

        async def run(client: AsyncClient) -> Result:
            await client.open()
            if self._tracking:
                client.start_tracking()
            return await work(client)

        with self._lock:
            if only is not None and only is not self._session:
                raise _closed()
            self._callers.add(threading.current_thread())
            return self._started().post(run)

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Drain and stop; nothing if it never started here. Calls that are still under way raise ClosedError."""
        self._not_from_within()
        with self._lock:
            session, self._session = self._session, None
            self._tracking = False
        if session is not None and session.pid == os.getpid():
            session.close(timeout)

    def forked(self) -> None:
        """In the child of a fork: the thread is gone, and a lock may be held by nobody; begin anew at the next call."""
        if self._session is not None:
            _INHERITED.append(self._session)
            self._session.client.forked()
        self._lock = threading.Lock()
        self._callers = WeakSet()
        self._session = None

    def _started(self) -> "_Session":
        if self._ended:
            raise ClosedError(_ENDING)
        if self._session is None or self._session.pid != os.getpid():
            if not self._at_exit:
                _before_executors_stop(self._exit)
                self._at_exit = True
            self._session = _Session(self._make())
        return self._session

    def _not_from_within(self) -> None:
        if self._session is not None and threading.current_thread() is self._session.thread:
            raise RuntimeError("a blocking batchmeter call from inside its own event loop: use the async function")

    def _exit(self) -> None:
        """The interpreter waits for threads that are no daemons, but only after this: so they are waited for here."""
        try:
            while (session := self._session) is not None and self._wait_for_callers(session):
                pass
        finally:
            with self._lock:
                self._ended = True
            self.close()

    def _wait_for_callers(self, session: "_Session") -> bool:
        """False when there is none. A pool's thread ends later still: of it only the jobs are waited for, begun or not."""
        pools: Mapping[threading.Thread, SimpleQueue[object]] = getattr(
            concurrent.futures.thread, "_threads_queues", {}
        )
        with self._lock:
            callers = _people(list(self._callers))
        living = [one for one in callers if one not in pools]
        for thread in living:
            thread.join()
        queues = [pools[one] for one in callers if one in pools]
        calls = [call for call, caller in list(session.calls.items()) if caller in pools and not caller.daemon]
        jobs = [one for one, queue in list(pools.items()) if queue in queues and (not queue.empty() or _at_work(one))]
        if jobs:
            time.sleep(_LOOK_SECONDS)
        else:
            concurrent.futures.wait(calls)
        return bool(living or jobs or calls)


@dataclass(frozen=True)
class Steps:
    """A stream or generator is read on where it was opened: it ends with that session, and never starts another."""

    engine: Engine
    session: "_Session"

    def step(self, step: Callable[[], Awaitable[Result]]) -> Result:
        return self.engine.call(lambda _: step(), self.session)

    async def astep(self, step: Callable[[], Awaitable[Result]]) -> Result:
        return await self.engine.acall(lambda _: step(), self.session)


def _at_work(thread: threading.Thread) -> bool:
    """Whether a pool's thread has a job, and does not wait for one."""
    frames: dict[int, FrameType] = getattr(sys, "_current_frames", dict)()
    frame = frames.get(thread.ident or 0)
    while frame is not None and frame.f_code.co_qualname != "_WorkItem.run":
        frame = frame.f_back
    return frame is not None


def _people(threads: "Iterable[threading.Thread]") -> list[threading.Thread]:
    """Threads that the interpreter waits for at its end."""
    return [one for one in threads if one.is_alive() and not one.daemon and one is not threading.main_thread()]


@dataclass(eq=False)
class _Session:
    """From a start to its close."""

    client: AsyncClient
    pid: int = field(default_factory=os.getpid)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    calls: "dict[Future[Any], threading.Thread]" = field(default_factory=dict["Future[Any]", threading.Thread])
    """Under way, and who waits for them."""
    _tasks: "set[asyncio.Task[Any]]" = field(default_factory=set["asyncio.Task[Any]"])
    _given_up: "set[asyncio.Task[Any]]" = field(default_factory=set["asyncio.Task[Any]"])
    """Cancelled by closing."""

    def __post_init__(self) -> None:
        self.client.plugins.run_apart()
        self.thread = threading.Thread(target=self._run, name="batchmeter", daemon=True)
        self.thread.start()

    def post(self, work: Work[Result]) -> "Future[Result]":
        # The task copies this thread's context: trace context and the caller's variables come along.
        future = asyncio.run_coroutine_threadsafe(self._call(work), self.loop)
        self.calls[future] = threading.current_thread()
        future.add_done_callback(lambda call: self.calls.pop(call, None))
        return future

    def close(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        concurrent.futures.wait(list(self.calls), min(GRACE_SECONDS, timeout))
        self.loop.call_soon_threadsafe(self._give_up)
        concurrent.futures.wait(list(self.calls), min(GRACE_SECONDS, timeout))
        left = max(end - time.monotonic(), 0.0)
        closed = asyncio.run_coroutine_threadsafe(self._aclose(left), self.loop)
        try:
            closed.result(left + EXIT_SECONDS)
        except concurrent.futures.TimeoutError:
            log.warning("something blocks batchmeter's event loop; it is left behind, the ledger has what is due")
        else:
            # Streams that nobody read to their end.
            asyncio.run_coroutine_threadsafe(self.loop.shutdown_asyncgens(), self.loop).result(EXIT_SECONDS)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()
        for call in list(self.calls):
            if not call.done():
                call.set_exception(_closed())

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                continue
            return

    async def _call(self, work: Work[Result]) -> Result:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._tasks.add(task)
        try:
            return await work(self.client)
        except asyncio.CancelledError:
            if task in self._given_up:  # else its caller has cancelled it, and takes no error
                raise _closed() from None
            raise
        finally:
            self._tasks.discard(task)

    def _give_up(self) -> None:
        for task in self._tasks:
            if not task.cancelling():  # else it is giving back what it holds
                self._given_up.add(task)
                task.cancel()

    async def _aclose(self, timeout: float) -> None:
        """Interrupted calls give back what they hold before the ledger closes."""
        end = self.loop.time() + timeout
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout)
        await self.client.aclose(timeout=max(end - self.loop.time(), 0.0))


def _closed() -> ClosedError:
    return ClosedError("batchmeter was closed during this call; batches go on, and are followed when it is used again")


def _before_executors_stop(function: Callable[[], None]) -> None:
    """Run at exit while thread pools still take work, which atexit's functions come too late for.

    The hook is threading's own, made for concurrent.futures, and runs the last registered first: so theirs must be
    registered by now. Without it, what is left is delivered by the next process.
    """
    register = cast("Callable[[Callable[[], None]], object]", getattr(threading, "_register_atexit", atexit.register))
    try:
        import_module("concurrent.futures.thread")
        register(function)
    except RuntimeError as error:
        raise ClosedError(_ENDING) from error


async def _nothing(_: AsyncClient) -> None:
    """Only what every call does first."""


_ENGINES: "WeakSet[Engine]" = WeakSet()
_INHERITED: list[object] = []
"""The parent's loops and connections, kept so that nothing closes them in the child."""


def _in_child() -> None:
    for engine in list(_ENGINES):
        engine.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
