"""An AsyncClient on an event loop in a thread of its own: what sync calls and the module-level functions run on.

So they work inside and outside a running loop, share one pool of connections, and go on tracking between calls.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakSet

if TYPE_CHECKING:
    from .client import AsyncClient

Result = TypeVar("Result")

EXIT_SECONDS = 5.0
"""How long the interpreter's exit waits for deliveries under way."""


class Engine:
    """Owns the thread, the loop and the client. Start is lazy; `close` may be called twice."""

    def __init__(self, make: "Callable[[], AsyncClient]") -> None:
        self._make = make
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: AsyncClient | None = None
        self._pid = 0
        self._at_exit = False
        self._tracking = False
        _ENGINES.add(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that work runs on; None before the first call."""
        return self._loop

    def track(self) -> None:
        """Follow open batches from now on, whatever the settings say; in a forked child, from its first call on."""
        self._tracking = True
        self.call(_nothing)

    def call(self, work: "Callable[[AsyncClient], Coroutine[Any, Any, Result]]") -> Result:
        """Run to the end, blocking this thread (never the engine's own)."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a blocking batchmeter call from inside its own event loop: use the async function")
        future = self.post(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def acall(self, work: "Callable[[AsyncClient], Coroutine[Any, Any, Result]]") -> Result:
        """Run to the end without blocking the caller's loop; cancelling this cancels the work."""
        return await asyncio.wrap_future(self.post(work))

    def post(self, work: "Callable[[AsyncClient], Coroutine[Any, Any, Result]]") -> "Future[Result]":
        """Start, from any thread, without waiting."""
        loop, client = self._started()

        async def run() -> Result:
            await client.open()
            if self._tracking:
                client.start_tracking()
            return await work(client)

        # The task copies this thread's context: trace context and the caller's variables come along.
        return asyncio.run_coroutine_threadsafe(run(), loop)

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Drain and stop; nothing if it never started here."""
        with self._lock:
            loop, thread, client = self._loop, self._thread, self._client
            self._loop = self._thread = self._client = None
            self._tracking = False
        if loop is None or thread is None or self._pid != os.getpid():
            return
        if client is not None:
            asyncio.run_coroutine_threadsafe(client.aclose(timeout=timeout), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def forked(self) -> None:
        """In the child of a fork: the thread is gone, and a lock may be held by nobody; begin anew at the next call."""
        if self._client is not None:
            _INHERITED.append((self._loop, self._client))
            self._client.forked()
        self._lock = threading.Lock()
        self._loop = self._thread = self._client = None

    def _started(self) -> "tuple[asyncio.AbstractEventLoop, AsyncClient]":
        with self._lock:
            if self._loop is None or self._client is None or self._pid != os.getpid():
                client = self._make()
                self._start(asyncio.new_event_loop(), client)
            assert self._loop is not None
            assert self._client is not None
            return self._loop, self._client

    def _start(self, loop: asyncio.AbstractEventLoop, client: "AsyncClient") -> None:
        self._loop, self._client, self._pid = loop, client, os.getpid()
        self._thread = threading.Thread(target=_run, args=(loop,), name="batchmeter", daemon=True)
        self._thread.start()
        if not self._at_exit:
            self._at_exit = True
            _before_executors_stop(self.close)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


def _before_executors_stop(function: Callable[[], None]) -> None:
    """Run at exit while thread pools still take work, which atexit's functions come too late for.

    The hook is threading's own, made for concurrent.futures, and runs the last registered first: so theirs must be
    registered by now. Without it, what is left is delivered by the next process.
    """
    import_module("concurrent.futures.thread")
    register = cast("Callable[[Callable[[], None]], object]", getattr(threading, "_register_atexit", atexit.register))
    register(function)


async def _nothing(_: "AsyncClient") -> None:
    """Only what every call does first."""


_ENGINES: "WeakSet[Engine]" = WeakSet()
_INHERITED: list[object] = []
"""The parent's loops and connections, kept so that nothing closes them in the child."""


def _in_child() -> None:
    for engine in list(_ENGINES):
        engine.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
