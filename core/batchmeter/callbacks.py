"""`@batchmeter.on`: a plain function as a logger of this process, for whoever wants a callback and not a plugin."""

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, overload
from weakref import WeakSet

from .config import nearest
from .discovery import place
from .errors import UsageError
from .hookspecs import hookimpl

if TYPE_CHECKING:
    from .events import BatchCreated, BatchFailed, BatchSucceeded
    from .plugins import Plugins

Kind = Literal["acreate_batch", "batch_success", "batch_failure"]
KINDS: tuple[Kind, ...] = get_args(Kind)
AnyFunction = Callable[..., object]
Function = TypeVar("Function", bound=AnyFunction)
Any_ = TypeVar("Any_", bound="Callable[[BatchCreated | BatchSucceeded | BatchFailed], object]")
OnCreated = TypeVar("OnCreated", bound="Callable[[BatchCreated], object]")
OnSucceeded = TypeVar("OnSucceeded", bound="Callable[[BatchSucceeded], object]")
OnFailed = TypeVar("OnFailed", bound="Callable[[BatchFailed], object]")
OnEnded = TypeVar("OnEnded", bound="Callable[[BatchSucceeded | BatchFailed], object]")


@dataclass(frozen=True, slots=True, eq=False)
class Callback:
    """One registered function."""

    function: AnyFunction
    kinds: frozenset[Kind]


class _Hooks:
    """The object that pluggy sees: one marked function for each event type."""


_lock = threading.Lock()
_callbacks: dict[str, Callback] = {}
_attached: "WeakSet[Plugins]" = WeakSet()


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
def on(*event_types: Kind, name: str | None = None) -> Callable[[Function], Function]: ...
def on(*event_types: Any, name: str | None = None) -> Any:
    """Call the function, `def` or `async def`, with each event of these types (bare: of every type).

    It is a logger like any other: its own lane, retried with back-off while it raises, `RetryLater` and `Rejected`
    understood, at least once. It hears of the batches that clients of this program submit, whichever process records
    their events, and of those that they settle, from when it is registered. The ledger knows it as
    `on:<module>.<function>@<file>`, or as `on:<name>`: what is due when the program ends comes after its next start.
    """
    if len(event_types) == 1 and callable(event_types[0]):
        return _register(event_types[0], frozenset(KINDS), name)
    unknown = [kind for kind in event_types if kind not in KINDS]
    if unknown:
        raise UsageError(f"no event type {unknown[0]!r}{nearest(str(unknown[0]), KINDS)}")

    def decorate(function: Function) -> Function:
        return _register(function, frozenset(event_types or KINDS), name)

    return decorate


def off(function: AnyFunction) -> None:
    """Call it no more; nothing if it is not registered."""
    with _lock:
        names = [name for name, callback in _callbacks.items() if callback.function == function]
        for name in names:
            del _callbacks[name]
            _everywhere_off(name)


def attach(plugins: "Plugins") -> None:
    """Every registered function, now and from now on, is a logger of these plugins."""
    with _lock:
        _attached.add(plugins)
        for name, callback in _callbacks.items():
            plugins.register(_hooks(callback), name, scoped=True)


def _register(function: Function, kinds: frozenset[Kind], name: str | None) -> Function:
    """Again under the same name: in place of the first (a notebook's cell), with its types if it is the same function."""
    if not callable(function):
        raise UsageError(f"@batchmeter.on decorates a function, not {type(function).__name__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(f"{function!r} has a `yield`: called with an event, it would do nothing")
    chosen = "on:" + (name or _name(function))
    with _lock:
        before = _callbacks.get(chosen)
        if before is not None:
            if name is None and before.function != function and _code(before.function) is _code(function):
                raise UsageError(
                    f"{chosen} is registered already, for another object: say name='…', or batchmeter.off the first"
                )
            _everywhere_off(chosen)
            if before.function == function:
                kinds |= before.kinds
        _callbacks[chosen] = Callback(function, kinds)
        for plugins in _attached:
            plugins.register(_hooks(_callbacks[chosen]), chosen, scoped=True)
    return function


def _everywhere_off(name: str) -> None:
    for plugins in _attached:
        if name in plugins.loggers:
            plugins.unregister(name)


def _name(function: AnyFunction) -> str:
    qualname = getattr(function, "__qualname__", None)
    if qualname is None or "<lambda>" in qualname:
        raise UsageError(f"{function!r} has no name of its own: say @batchmeter.on(…, name='…')")
    return f"{function.__module__}.{qualname}@{place(function.__module__)}"


def _code(function: AnyFunction) -> object:
    """The code that two methods of one class, or two closures of one function, share; a new definition has its own."""
    return getattr(function, "__code__", function)


def _hooks(callback: Callback) -> _Hooks:
    hooks = _Hooks()
    for kind in callback.kinds:
        setattr(hooks, kind, _implementation(callback.function))
    return hooks


def _implementation(function: AnyFunction) -> AnyFunction:
    """A function pluggy can read the argument of, whatever the user calls it."""
    if inspect.iscoroutinefunction(function):

        async def hear(event: object) -> None:
            await function(event)

        return hookimpl(hear)

    def call(event: object) -> object:
        return function(event)

    return hookimpl(call)
