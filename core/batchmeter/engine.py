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

    def call(self, work: "Callable[[AsyncClient], Coroutine[Any, Any, Result]]") -> Result:
        """Run to the end, blocking this thread (never the engine's own)."""
        future = self._submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def acall(self, work: "Callable[[AsyncClient], Coroutine[Any, Any, Result]]") -> Result:
        """Run to the end without blocking the caller's loop; cancelling this cancels the work."""
        return await asyncio.wrap_future(self._submit(work))

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Drain and stop; nothing if it never started here."""
        with self._lock:
            loop, thread, client = self._loop, self._thread, self._client
            self._loop = self._thread = self._client = None
        if loop is None or thread is None or self._pid != os.getpid():
            return
        if client is not None:
            asyncio.run_coroutine_threadsafe(client.aclose(timeout=timeout), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _submit(self, work: "Callable[[AsyncClient], Coroutine[Any, Any, Result]]") -> "Future[Result]":
        loop, client = self._started()
        if threading.current_thread() is self._thread:
            raise RuntimeError("a blocking batchmeter call from inside its own event loop: use the async function")

        async def run() -> Result:
            await client.open()
            return await work(client)

        # The task copies this thread's context: trace context and the caller's variables come along.
        return asyncio.run_coroutine_threadsafe(run(), loop)

    def _started(self) -> "tuple[asyncio.AbstractEventLoop, AsyncClient]":
        with self._lock:
            if self._loop is None or self._client is None or self._pid != os.getpid():
                # After a fork the thread is gone and its connections are the parent's: begin anew.
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
