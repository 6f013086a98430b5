"""`@batchmeter.on`: makes a plain function a logger of this process, where a plugin would be too much."""

import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, overload

from batchmeter.config import nearest
from batchmeter.discovery import place
from batchmeter.errors import UsageError
from batchmeter.events import BATCH_KINDS, EventType
from batchmeter.hookspecs import hookimpl
from batchmeter.runtime.program_plugins import add_plugin, remove_plugin

if TYPE_CHECKING:
    from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded

AnyFunction = Callable[..., object]
Function = TypeVar("Function", bound=AnyFunction)
Any_ = TypeVar("Any_", bound="Callable[[BatchCreated | BatchSucceeded | BatchFailed], object]")
OnCreated = TypeVar("OnCreated", bound="Callable[[BatchCreated], object]")
OnSucceeded = TypeVar("OnSucceeded", bound="Callable[[BatchSucceeded], object]")
OnFailed = TypeVar("OnFailed", bound="Callable[[BatchFailed], object]")
OnEnded = TypeVar("OnEnded", bound="Callable[[BatchSucceeded | BatchFailed], object]")


class Callback(NamedTuple):
    """One registered function."""

    function: AnyFunction
    kinds: frozenset[EventType]


class _Hooks:
    """The object that pluggy sees: one marked function for each event type."""

    def __init__(self, callback: Callback) -> None:
        for kind in callback.kinds:
            setattr(self, kind, _implementation(callback.function))


_lock = threading.Lock()
_callbacks: dict[str, Callback] = {}


@overload
def on(event_type: Any_, /) -> Any_: ...
@overload
def on(event_type: Literal["acreate_batch"], /, *, name: str | None = None) -> Callable[[OnCreated], OnCreated]: ...
@overload
def on(event_type: Literal["batch_success"], /, *, name: str | None = None) -> Callable[[OnSucceeded], OnSucceeded]: ...
@overload
def on(event_type: Literal["batch_failure"], /, *, name: str | None = None) -> Callable[[OnFailed], OnFailed]: ...
@overload
def on(
    event_type: Literal["batch_success", "batch_failure"],
    second: Literal["batch_success", "batch_failure"],
    /,
    *,
    name: str | None = None,
) -> Callable[[OnEnded], OnEnded]: ...
@overload
def on(*event_types: EventType, name: str | None = None) -> Callable[[Function], Function]: ...
def on(*event_types: Any, name: str | None = None) -> Any:
    """Call the function, `def` or `async def`, with each event of these types (bare: of every type).

    It is a logger like any other: its own lane, retried with back-off while it raises, `RetryLater` and `Rejected`
    understood, at least once. It hears of the batches that clients of this program submit, whichever process records
    their events, and of those that they settle, from when it is registered. The ledger knows it as
    `on:<module>.<function>@<file>`, or as `on:<name>`: what is due when the program ends comes after its next start.
    """
    if len(event_types) == 1 and callable(event_types[0]):
        return _register(event_types[0], frozenset(BATCH_KINDS), name)
    unknown = [kind for kind in event_types if kind not in BATCH_KINDS]
    if unknown:
        raise UsageError(f"no event type {unknown[0]!r}{nearest(str(unknown[0]), BATCH_KINDS)}")

    def decorate(function: Function) -> Function:
        return _register(function, frozenset(event_types or BATCH_KINDS), name)

    return decorate


def off(function: AnyFunction) -> None:
    """Call it no more; nothing if it is not registered."""
    with _lock:
        for name in [name for name, callback in _callbacks.items() if callback.function == function]:
            del _callbacks[name]
            remove_plugin(name)


def _register(function: Function, kinds: frozenset[EventType], name: str | None) -> Function:
    """Again under the same name: in place of the first (a notebook's cell), with its types if it is the same function."""
    if not callable(function):
        raise UsageError(f"@batchmeter.on decorates a function, not {type(function).__name__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(f"{function!r} has a `yield`: called with an event, it would do nothing")
    chosen = "on:" + (name or _name(function))
    with _lock:
        before = _callbacks.get(chosen)
        if before is not None and before.function == function:
            kinds |= before.kinds
        elif before is not None and name is None and _code(before.function) is _code(function):
            raise UsageError(
                f"{chosen} is registered already, for another object: say name='…', or batchmeter.off the first"
            )
        _callbacks[chosen] = Callback(function, kinds)
        add_plugin(chosen, _Hooks(_callbacks[chosen]))
    return function


def _name(function: AnyFunction) -> str:
    qualname = getattr(function, "__qualname__", None)
    if qualname is None or "<lambda>" in qualname:
        raise UsageError(f"{function!r} has no name of its own: say @batchmeter.on(…, name='…')")
    return f"{function.__module__}.{qualname}@{place(function.__module__)}"


def _code(function: AnyFunction) -> object:
    """The code that two methods of one class, or two closures of one function, share; a new definition has its own."""
    return getattr(function, "__code__", function)


def _implementation(function: AnyFunction) -> AnyFunction:
    """A function pluggy can read the argument of, whatever the user calls it."""
    if inspect.iscoroutinefunction(function):

        async def hear(event: object) -> None:
            await function(event)

        return hookimpl(hear)

    def call(event: object) -> object:
        return function(event)

    return hookimpl(call)
