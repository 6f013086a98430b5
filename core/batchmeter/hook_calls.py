"""Calls plugins' code, hooks and providers alike, so that it can do nothing to the event loop but answer or fail.

A plain `def` runs in a thread of its own. An `async def` runs in a loop of its plugin's own (`PluginThread`) where the
plugin cannot need the caller's; in the caller's loop it is watched, and named where it held the loop up.
"""

import asyncio
import concurrent.futures
import contextvars
import inspect
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pluggy

from .config import nearest
from .errors import RetryLater
from .events import event_kinds
from .hookspecs import PROJECT, Companion

if TYPE_CHECKING:
    from .events import Event
    from .host import PluginHost

log = logging.getLogger("batchmeter")

Result = TypeVar("Result")

BLOCKED_SECONDS = 1.0
"""A hook that holds the event loop for so long at a time is named in the log."""
GRACE_SECONDS = 1.0
"""How long a cancelled call may take to end; then it is left behind."""
_OFF_SECONDS = 600.0
MAX_STUCK = 3
"""Threads a hanging sync logger may hold before it is asked no more until one returns."""


class PluginManager(pluggy.PluginManager):
    """pluggy's, which looks through descriptors at each of an object's names: nine in ten of them are plainly no hooks."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        return cast("pluggy.HookimplOpts | None", _options(plugin, name, "impl", super().parse_hookimpl_opts))

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> pluggy.HookspecOpts | None:
        return cast("pluggy.HookspecOpts | None", _options(module_or_class, name, "spec", super().parse_hookspec_opts))

    def check_pending(self) -> None:
        """PluginValidationError that names the nearest hook where there is none of an implementation's name."""
        callers: dict[str, pluggy.HookCaller] = vars(self.hook)
        known = [name for name, caller in callers.items() if caller.has_spec()]
        for name in callers.keys() - known:
            for one in callers[name].get_hookimpls():
                if not one.optionalhook:
                    raise pluggy.PluginValidationError(one.plugin, f"there is no hook {name!r}{nearest(name, known)}")


def _options(holder: object, name: str, mark: str, ask: Callable[[Any, str], object]) -> object:
    """As `ask`, pluggy's own, finds them; at once for plain functions and for values that are none."""
    kinds = cast("type[object]", holder if isinstance(holder, type) else type(holder)).__mro__
    for place in () if name.startswith("__") else (holder, *kinds):
        names: Mapping[str, object] = getattr(place, "__dict__", {})
        if name in names:
            value = names[name]
            if isinstance(value, FunctionType):
                return vars(value).get(f"{PROJECT}_{mark}")
            rare = callable(value) or isinstance(value, classmethod | MemberDescriptorType)
            return ask(holder, name) if rare else None
    return None


@dataclass
class Logger:
    """One enabled consumer of events."""

    name: str
    version: str
    implementations: Mapping[str, pluggy.HookImpl] = field(repr=False)
    scoped: bool = False
    """A callback of this program: it is owed only this program's batches."""
    host: "PluginHost | None" = field(default=None, repr=False)
    """For implementations that name it."""
    thread: "PluginThread | None" = field(default=None, repr=False)
    """Where its `async def` hooks run; None: in the caller's loop."""
    plugin: str = ""
    """The plugin that it is a companion of (`hookspecs.Companion`), which delivers beside it."""
    opens: "Callable[[Event], AbstractAsyncContextManager[Mapping[str, object]]] | None" = field(
        default=None, repr=False
    )
    """Gives the companion's further arguments."""
    seconds: float = 0.0
    """For one call of a companion."""
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
        async with nullcontext[Mapping[str, object]]({}) if self.opens is None else self.opens(event) as more:
            await call(
                implementation,
                {"event": event, "host": self.host, **more},
                begin=lambda: self._running.add(mark),
                end=lambda: self._running.discard(mark),
                thread=self.thread,
            )


def loggers_of(
    every: Logger, plugin: object, companions: Mapping[str, Companion], hooks: pluggy.HookRelay
) -> dict[str, Logger]:
    """The loggers that a plugin is, by name, out of one that has all its implementations: its own, and companions."""
    has = every.implementations
    events = {kind: has[kind] for kind in event_kinds() if kind in has}
    found = [replace(every, implementations=events)] if events else []
    found += [
        replace(
            every,
            name=f"{every.name}.{hook}",
            implementations=dict.fromkeys(companion.kinds, has[hook]),
            plugin=every.name,
            opens=partial(_open, hooks, companion.opened_by, plugin),
            seconds=companion.seconds,
        )
        for hook, companion in companions.items()
        if hook in has and hook not in getattr(plugin, "unsubscribed", ())
    ]
    return {logger.name: logger for logger in found}


def _open(
    hooks: pluggy.HookRelay, hook: str, plugin: object, event: "Event"
) -> AbstractAsyncContextManager[Mapping[str, object]]:
    caller: pluggy.HookCaller = getattr(hooks, hook)
    if not (implementations := caller.get_hookimpls()):
        raise RetryLater(f"the plugin with {hook} is off here", after=_OFF_SECONDS)
    opened: AbstractAsyncContextManager[Mapping[str, object]]
    opened = cast("Callable[..., Any]", implementations[0].function)(plugin=plugin, event=event)
    return opened


@contextmanager
def exceptions_only(who: str = "it") -> Generator[None]:
    """A plugin's code raises an Exception, whatever it raises: SystemExit would end the event loop, and its waiters hang.

    The cancelling of the caller's own task goes through.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError(f"{who} cancelled itself") from error
    except BaseException as error:
        raise RuntimeError(f"{who} raised {type(error).__name__}: {error}") from error


async def within(
    work: Coroutine[Any, Any, Result],
    seconds: float | None,
    complaint: str = "no answer in",
    error: type[Exception] = TimeoutError,
) -> Result:
    """The result, or the error after `seconds`; work that is done while it is being stopped counts as done.

    Work that ignores being cancelled is left behind.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _end(task)
        raise
    if not done:
        await _end(task)
        if not task.done() or task.cancelled() or task.exception() is not None:
            raise error(f"{complaint} {seconds:g} s")
    return task.result()


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    try:
        await asyncio.wait({task}, timeout=GRACE_SECONDS)
    finally:  # cancelled once more meanwhile, perhaps
        if not task.done():
            # The loop's own end would wait for it for ever: asyncio.run() gathers every task that is registered.
            asyncio.tasks._unregister_task(task)  # noqa: SLF001 - there is no public way
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001


def chosen(implementation: pluggy.HookImpl, arguments: Mapping[str, object]) -> dict[str, object]:
    """The arguments that the implementation names."""
    return {name: arguments[name] for name in implementation.argnames if name in arguments}


def _nothing() -> None: ...


async def call(
    implementation: pluggy.HookImpl,
    arguments: Mapping[str, object],
    *,
    begin: Callable[[], None] = _nothing,
    end: Callable[[], None] = _nothing,
    thread: "PluginThread | None" = None,
) -> Any:
    """Call one implementation, alone; `begin` and `end` frame the time of one that its caller cannot stop.

    Whatever it does, only an Exception comes out, or the cancelling of the caller's own task.
    """
    function: Callable[..., Any] = implementation.function
    given = chosen(implementation, arguments)
    with exceptions_only():
        if not inspect.iscoroutinefunction(function):
            result = await _in_thread(lambda: function(**given), begin, end)
            return await result if inspect.isawaitable(result) else result
        if thread is not None:
            return await thread.run(lambda: function(**given), begin, end)
        return await _Watched(function(**given), implementation)


class _Watched:
    """A coroutine in the caller's loop: what holds the loop up between two awaits is logged, as nothing can stop it."""

    def __init__(self, work: Coroutine[Any, Any, Any], implementation: pluggy.HookImpl) -> None:
        self._work = work
        self._name = f"plugin {implementation.plugin_name}: its {implementation.function.__name__}"

    def __await__(self) -> Generator[Any, Any, Any]:
        resume, value = self._work.send, None
        try:
            while True:
                try:
                    waited = self._step(resume, value)
                except StopIteration as end:
                    return end.value
                try:
                    resume, value = self._work.send, (yield waited)
                except GeneratorExit:
                    raise
                except BaseException as caught:  # noqa: BLE001 - thrown into the coroutine, as the loop means it
                    resume, value = self._work.throw, caught
        finally:
            self._work.close()

    def _step(self, resume: Callable[[Any], Any], value: Any) -> Any:
        began = time.perf_counter()
        try:
            return resume(value)
        finally:
            took = time.perf_counter() - began
            if took > BLOCKED_SECONDS:
                log.warning(
                    "%s held up the event loop, and all else in it, for %.1f s: use `await`, or a plain `def`, which "
                    "runs in a thread of its own",
                    self._name,
                    took,
                )


async def _in_thread(function: Callable[[], object], begin: Callable[[], None], end: Callable[[], None]) -> object:
    """In a daemon thread of its own: one that hangs holds up neither the pool nor the interpreter's exit."""
    outcome = concurrent.futures.Future[object]()
    outcome.set_running_or_notify_cancel()  # from here on it cannot be cancelled: the thread cannot
    context = contextvars.copy_context()

    def run() -> None:
        result: object = None
        error: Exception | None = None
        try:
            result = context.run(function)
        except BaseException as caught:  # noqa: BLE001 - SystemExit in a plugin is that plugin's failure only
            if isinstance(caught, Exception) and not isinstance(caught, StopIteration):  # no future takes that
                error = caught
            else:
                error = RuntimeError(f"it raised {type(caught).__name__}: {caught}")
        end()
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)

    begin()
    threading.Thread(target=run, name="batchmeter-logger", daemon=True).start()
    return await asyncio.wrap_future(outcome)


class PluginThread:
    """Starts with its first call. A loop that is blocked for good is left behind: its thread ends with the process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: threading.Thread | None = None

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
            # A fork leaves threads behind.
            if self._loop is None or self._serving is None or not self._serving.is_alive():
                self._loop = asyncio.new_event_loop()
                name = f"batchmeter-{self._name}"
                self._serving = threading.Thread(target=_serve, args=(self._loop,), name=name, daemon=True)
                self._serving.start()
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
