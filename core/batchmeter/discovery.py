"""Finds installed plugins by their entry points, and reads what a plugin's module declares before any setting is read.

A stranger's code runs so that it can do nothing to the process: no exit, no endless wait, nothing on its stdout.
"""

import contextvars
import logging
import os
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO, TypeVar, cast

from .errors import ConfigError
from .hookspecs import PROJECT

log = logging.getLogger("batchmeter")

Result = TypeVar("Result")

LOAD_SECONDS = 20.0
"""A plugin that takes longer to import or to make counts as failed. An import may finish in its thread, and is found ready
next time."""


def import_contained(name: str, *, seconds: float = LOAD_SECONDS) -> ModuleType:
    """The module. Raises an Exception whatever its code does: SystemExit and the like become RuntimeError."""
    known = sys.modules.get(name)
    if known is not None and not _initializing(name):
        return known
    top = name.partition(".")[0]
    if _initializing(top):  # its own import made this client: another thread would wait for that import, and it for us
        with _stdout_as_stderr():
            return _without_exit(lambda: import_module(name))
    return contained(lambda: import_module(name), seconds=seconds)


def contained(work: Callable[[], Result], *, seconds: float = LOAD_SECONDS) -> Result:
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


GROUP = "batchmeter"
_MOST_SOURCES = 500
"""Files of a package that are read."""
_MARK = f"{PROJECT}_impl"
"""The attribute that pluggy's `hookimpl` marker sets."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One entry point of the group."""

    entry: EntryPoint
    distribution: str
    version: str
    refusal: str = ""
    """Why it is not used, whatever the settings say: its name is taken."""

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def ours(self) -> bool:
        return self.distribution == PROJECT

    def module(self) -> ModuleType:
        """Imported once; raises an Exception whatever the import does."""
        if self.ours:
            return import_module(self.entry.module)
        return import_contained(self.entry.module)

    def load(self) -> object:
        """The object that the entry point names; raises an Exception whatever the import does."""
        module: object = self.module()
        names = self.entry.attr.split(".") if self.entry.attr else []
        if self.ours or not names:
            return reduce(getattr, names, module)
        return contained(lambda: reduce(getattr, names, module))


def entries(group: str) -> list[EntryPoint]:
    """Entry points of a group. Read again only after something was installed, or sys.path changed."""
    return list(_entries(_places()).select(group=group))


@lru_cache(maxsize=8)
def _entries(_: "_Places") -> Any:
    """All entry points; their class depends on Python's version. This reads a file of every distribution."""
    return entry_points()


_Places = tuple[tuple[str, int], ...]
"""Folders that modules are found in, and when each was changed (ns)."""


def _places() -> _Places:
    found: list[tuple[str, int]] = []
    for path in sys.path:
        with suppress(OSError):  # not there, or not ours to see
            found.append((path, Path(path).stat().st_mtime_ns))
    return tuple(found)


def installed_plugins() -> list[Installed]:
    """Every plugin's entry point, ours first."""
    return list(_installed(_places()))


@lru_cache(maxsize=8)
def _installed(places: _Places) -> tuple[Installed, ...]:
    found: defaultdict[str, dict[tuple[str, str], Installed]] = defaultdict(dict)
    for entry in _entries(places).select(group=GROUP):
        distribution, version = _origin(entry.dist)
        found[entry.name].setdefault((distribution, entry.value), Installed(entry, distribution, version))
    chosen = [one for same in found.values() for one in _by_right(list(same.values()))]
    return tuple(sorted(chosen, key=lambda one: (not one.ours, one.name)))


def _by_right(same: list[Installed]) -> Iterator[Installed]:
    """A name of ours is ours; of two strangers with one name neither is used, as nobody can tell which was meant."""
    ours = [one for one in same if one.ours][:1]
    yield from ours
    others = [one for one in same if not one.ours]
    if not ours and len(others) == 1:
        yield from others
        return
    for one in others:
        rivals = ", ".join(f"{each.distribution} {each.version}".strip() for each in (ours or same) if each is not one)
        which = "the name belongs to" if ours else "the same name is brought by"
        yield Installed(one.entry, one.distribution, one.version, f"{which} {rivals}: uninstall or rename one of them")


@lru_cache(maxsize=128)
def _origin(distribution: Distribution | None) -> tuple[str, str]:
    """The distribution's name and version. This parses its whole README."""
    metadata = distribution.metadata if distribution else {"Name": "", "Version": ""}
    return metadata["Name"], metadata["Version"]


def declared(module: ModuleType, name: str) -> tuple[str, ...]:
    """A tuple of texts that the module declares, such as `env`; empty where it declares none."""
    value: object = getattr(module, name, ())
    if isinstance(value, str) or not isinstance(value, tuple | list | set | frozenset):
        raise ConfigError(f"{module.__name__}.{name} is no tuple of texts")
    return tuple(str(each) for each in cast("tuple[object, ...]", value))


def defines(plugin: Installed, hook: str) -> bool:
    """Whether the plugin's source implements the hook, as far as can be read: it is not run, and cannot be asked."""
    pattern = re.compile(
        rf"""^\s*(async\s+)?def\s+{hook}\s*\(|^\s*{hook}\s*=|specname\s*=\s*["']{hook}["']""", re.MULTILINE
    )
    return any(pattern.search(text) for text in _sources(plugin.entry.module.partition(".")[0]))


def _sources(package: str) -> Iterator[str]:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))[:_MOST_SOURCES]]
    if spec is not None and spec.origin and spec.origin.endswith(".py"):
        files.append(Path(spec.origin))
    for path in files:
        with suppress(OSError):
            yield path.read_text("utf-8", errors="replace")


def marked(value: object) -> set[str]:
    """The hooks that a plugin's class, module or object implements, before it is made."""
    options = {name: getattr(getattr(value, name, None), _MARK, None) for name in dir(value)}
    return {option["specname"] or name for name, option in options.items() if option is not None}


def place(module: str) -> str:
    """The module's file: every script is `__main__`. Without one, as in a notebook, the folder it runs in."""
    file: str | None = getattr(sys.modules.get(module), "__file__", None)
    return os.path.abspath(file) if file else os.getcwd()  # noqa: PTH100, PTH109 - pathlib costs import time


def call_hook(plugin: Installed, hook: str, *arguments: object) -> None:
    """Call a package's own implementation of a hook that is called before settings are read, if it has one.

    Raises an Exception whatever the plugin does.
    """
    function: object = getattr(plugin.module(), hook, None)
    if not callable(function) or not hasattr(function, _MARK):
        return
    if plugin.ours:
        function(*arguments)
    else:
        contained(partial(function, *arguments))


def call_all(plugins: Iterable[Installed], hook: str, *arguments: object) -> None:
    """Call a hook on each package that implements it. A plugin that fails, whatever it does, is logged."""
    for plugin in plugins:
        try:
            call_hook(plugin, hook, *arguments)
        except Exception as error:  # noqa: BLE001 - whatever a plugin does, the others' are there
            log.warning("plugin %s: its %s failed: %s: %s", plugin.name, hook, type(error).__name__, error)


def registered(environ: Mapping[str, str], hook: str, wanted: str) -> dict[str, Any]:
    """Objects that packages register under a name with `hook(register)`: the first keeps it, ours first.

    Our own plugin called `wanted` is asked alone, if it registers that: other distributions' files need not be read.
    """
    found: dict[str, Any] = {}

    def register(name: str, value: object) -> None:
        if name in found:
            raise ConfigError(f"{name!r} is registered already")
        found[name] = value

    call_all(_built_in(environ, wanted), hook, register)
    if wanted not in found:
        found.clear()
        call_all(usable(environ), hook, register)
    return found


def _built_in(environ: Mapping[str, str], name: str) -> list[Installed]:
    """Our own plugin of this name, if it is usable."""
    entries = () if name in _names(environ.get("BATCHMETER_DISABLE")) else _own_entries(_places())
    return [Installed(entry, PROJECT, "") for entry in entries if entry.name == name]


@lru_cache(maxsize=8)
def _own_entries(_: "_Places") -> tuple[EntryPoint, ...]:
    with suppress(PackageNotFoundError):
        return tuple(entry for entry in distribution(PROJECT).entry_points if entry.group == GROUP)
    return ()


def usable(environ: Mapping[str, str]) -> list[Installed]:
    """The plugins whose modules may be imported before settings are read: as BATCHMETER_DISABLE and _PLUGINS leave them."""
    disabled = _names(environ.get("BATCHMETER_DISABLE"))
    chosen = _names(environ["BATCHMETER_PLUGINS"]) if "BATCHMETER_PLUGINS" in environ else None
    return [
        one
        for one in installed_plugins()
        if not one.refusal and one.name not in disabled and (one.ours or chosen is None or one.name in chosen)
    ]


def _names(text: str | None) -> set[str]:
    return {part.strip() for part in (text or "").split(",") if part.strip()}
