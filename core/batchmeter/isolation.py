"""Runs a stranger's code so that it can do nothing to the process: no exit, no endless wait, nothing on its stdout."""

import contextvars
import importlib
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

if TYPE_CHECKING:
    from types import ModuleType

Result = TypeVar("Result")

IMPORT_SECONDS = 20.0
"""A module that takes longer to import counts as failed; it may finish in its thread, and is found ready next time."""


def import_contained(name: str, *, seconds: float = IMPORT_SECONDS) -> "ModuleType":
    """The module. Raises an Exception whatever its code does: SystemExit and the like become RuntimeError."""
    known = sys.modules.get(name)
    if known is not None and not _initializing(name):
        return known
    top = name.partition(".")[0]
    if _initializing(top):  # its own import made this client: another thread would wait for that import, and it for us
        with _stdout_as_stderr():
            return _without_exit(lambda: importlib.import_module(name))
    return contained(lambda: importlib.import_module(name), seconds=seconds)


def contained(work: Callable[[], Result], *, seconds: float) -> Result:
    """The result of `work`, run in a daemon thread. TimeoutError when it takes longer; only an Exception comes out."""
    outcome: list[Result] = []
    errors: list[Exception] = []
    context = contextvars.copy_context()

    def run() -> None:
        with _stdout_as_stderr():
            try:
                outcome.append(context.run(_without_exit, work))
            except Exception as error:  # noqa: BLE001 - raised again below, in the caller's thread
                errors.append(error)

    thread = threading.Thread(target=run, name="batchmeter-plugin", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not outcome:
        raise TimeoutError(f"no end in {seconds:g} s")
    return outcome[0]


def _without_exit(work: Callable[[], Result]) -> Result:
    try:
        return work()
    except Exception:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # Ctrl-C
        raise RuntimeError(f"it raised {type(error).__name__}: {error}") from error


def _initializing(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


class _PerThread:
    """Stands in for stdout: what contained threads print goes to stderr, all else where it went."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return self._target().write(text)

    def flush(self) -> None:
        self._target().flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target(), name)

    def _target(self) -> TextIO:
        return sys.stderr if threading.get_ident() in _contained else self.stream


_lock = threading.Lock()
_contained: set[int] = set()


@contextmanager
def _stdout_as_stderr() -> Generator[None]:
    """For this thread only; other threads print as before."""
    me = threading.get_ident()
    with _lock:
        nested = me in _contained
        _contained.add(me)
        if not isinstance(sys.stdout, _PerThread):
            sys.stdout = cast("TextIO", _PerThread(sys.stdout))
    try:
        yield
    finally:
        with _lock:
            if not nested:
                _contained.discard(me)
            if not _contained and isinstance(sys.stdout, _PerThread):
                sys.stdout = sys.stdout.stream
