"""Calling one plugin's implementation, alone: sync or async, with the arguments it names, never blocking the loop."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pluggy

from .errors import RetryLater
from .plugin_thread import PluginThread

if TYPE_CHECKING:
    from .events import Event

MAX_STUCK = 3
"""Threads a hanging sync logger may hold before it is asked no more until one returns."""


@dataclass
class Logger:
    """One enabled consumer of events."""

    name: str
    version: str
    implementations: Mapping[str, pluggy.HookImpl] = field(repr=False)
    scoped: bool = False
    """A callback of this program: it is owed only this program's batches."""
    thread: PluginThread | None = field(default=None, repr=False)
    """Where its `async def` hooks run; None: in the caller's loop."""
    _running: "set[object]" = field(default_factory=set[object], init=False, repr=False)

    @property
    def handles(self) -> frozenset[str]:
        return frozenset(self.implementations)

    @property
    def blocking(self) -> bool:
        """One of its implementations is a plain `def`: it gets one event at a time."""
        return not all(inspect.iscoroutinefunction(each.function) for each in self.implementations.values())

    async def deliver(self, event: "Event") -> None:
        """Hand over one event; returns when the logger accepted it, raises what it raises.

        An event type it does not implement is accepted unread. A sync implementation that was given up by a timeout
        keeps its thread; with three of those, RetryLater.
        """
        implementation = self.implementations.get(event.type)
        if implementation is None:
            return
        if len(self._running) >= MAX_STUCK:
            raise RetryLater(f"{self.name} is still busy with {MAX_STUCK} earlier events", after=30)
        mark = object()
        await call(
            implementation,
            {"event": event},
            begin=lambda: self._running.add(mark),
            end=lambda: self._running.discard(mark),
            thread=self.thread,
        )


async def call(
    implementation: pluggy.HookImpl,
    arguments: Mapping[str, object],
    *,
    begin: Callable[[], None] = lambda: None,
    end: Callable[[], None] = lambda: None,
    thread: PluginThread | None = None,
) -> Any:
    """Call with the arguments the implementation names; `begin` and `end` frame a sync one's time in its thread."""
    chosen = {name: arguments[name] for name in implementation.argnames if name in arguments}
    function: Callable[..., object] = implementation.function
    try:
        if inspect.iscoroutinefunction(function):
            return await (function(**chosen) if thread is None else thread.run(lambda: function(**chosen), begin, end))
        result = await _in_thread(lambda: function(**chosen), begin, end)
        return await result if inspect.isawaitable(result) else result
    except SystemExit as error:  # would end the event loop, and whoever waits on it would wait for ever
        raise RuntimeError(f"it raised SystemExit: {error}") from error


async def call_in_time(
    implementation: pluggy.HookImpl,
    arguments: Mapping[str, object],
    *,
    timeout: float,
    thread: PluginThread | None = None,
) -> Any:
    """As `call`; TimeoutError after so many seconds, even where it ignores being cancelled."""
    task = asyncio.create_task(call(implementation, arguments, thread=thread))
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout)
    finally:
        task.cancel()
    if not done:
        raise TimeoutError(f"no answer in {timeout:g} s")
    return task.result()


async def _in_thread(function: Callable[[], object], begin: Callable[[], None], end: Callable[[], None]) -> object:
    """In a daemon thread of its own: one that hangs holds up neither the pool nor the interpreter's exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: object, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result: object = None
        error: BaseException | None = None
        try:
            result = context.run(function)
        except BaseException as caught:  # noqa: BLE001 - SystemExit in a plugin is that plugin's failure only
            error = caught if isinstance(caught, Exception) else RuntimeError(f"{type(caught).__name__}: {caught}")
        end()
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    begin()
    threading.Thread(target=run, name="batchmeter-logger", daemon=True).start()
    return await future
