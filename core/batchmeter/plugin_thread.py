"""An event loop in a thread of its own for one plugin's `async def` hooks: one that blocks holds up nobody else."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class PluginThread:
    """Starts with its first call. A loop that is blocked for good is left behind: its thread ends with the process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(
        self, make: Callable[[], Coroutine[Any, Any, Result]], stuck: Callable[[], None], freed: Callable[[], None]
    ) -> Result:
        """The result of `make()` there; only an Exception comes out of it.

        `stuck` is called when the caller gave up and it goes on all the same, `freed` once that has ended.
        """
        lock, state = threading.Lock(), {"ended": False, "left": False}

        async def there() -> Result:
            try:
                return await make()
            except (SystemExit, KeyboardInterrupt) as error:  # either would end the loop
                raise RuntimeError(f"it raised {type(error).__name__}: {error}") from error
            finally:
                with lock:
                    state["ended"] = True
                    if state["left"]:
                        freed()

        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self._started()))
        except asyncio.CancelledError:
            with lock:
                if not state["ended"]:
                    state["left"] = True
                    stuck()
            raise

    def close(self) -> None:
        """Ends the loop when it is free; nothing is waited for."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                run = self._loop
                threading.Thread(target=_serve, args=(run,), name=f"batchmeter-{self._name}", daemon=True).start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
