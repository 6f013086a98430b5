"""Find, load, enable and isolate plugins: the typed face over pluggy. Nothing else calls a hook."""

import asyncio
import inspect
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Literal, cast

import pluggy
from pydantic import BaseModel

from . import hookspecs
from .config import Settings, nearest, validated
from .errors import ConfigError
from .installed import installed, origin
from .loggers import Logger, call, call_in_time
from .on_demand import Providers

if TYPE_CHECKING:
    import click

    from .client import AsyncClient
    from .events import Event, EventType
    from .ledger.session import Engine
    from .pricing.groups import PriceQuery, Rates
    from .providers import ProviderFactory

log = logging.getLogger("batchmeter")

BUILTIN_LOGGERS: dict[str, tuple[str, ...]] = {
    "file": ("BATCHMETER_FILE_PATH",),
    "otel": ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    "langfuse": ("LANGFUSE_PUBLIC_KEY",),
    "datadog": ("DD_API_KEY", "DD_AGENT_HOST"),
    "webhook": ("BATCHMETER_WEBHOOK_URL",),
}
"""Our own loggers act only when told to: by a `[plugins.<name>]` section or by one of these variables."""
_LIGHT = frozenset({"postgres", "proxy"})
"""Our own plugins that are neither loggers nor providers; importing them costs next to nothing."""
STARTUP_SECONDS = 30.0
_EVENT_HOOKS: tuple["EventType", ...] = ("acreate_batch", "batch_success", "batch_failure")


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One line of `batchmeter plugins`."""

    name: str
    version: str
    hooks: tuple[str, ...]
    state: Literal["on", "off", "failed"]
    reason: str = ""
    distribution: str = ""


@dataclass(eq=False)
class Plugins:
    """The plugins of one client."""

    settings: Settings = field(default_factory=Settings)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    _manager: pluggy.PluginManager = field(init=False, repr=False)
    _info: dict[str, PluginInfo] = field(default_factory=dict[str, PluginInfo], init=False)
    _loggers: dict[str, Logger] = field(default_factory=dict[str, Logger], init=False, repr=False)
    _providers: Providers = field(init=False, repr=False)
    ledgers: "dict[str, Engine]" = field(default_factory=dict[str, "Engine"], init=False, repr=False)
    """URL scheme -> the engine that opens such ledgers."""
    _found: dict[str, EntryPoint] = field(default_factory=dict[str, EntryPoint], init=False, repr=False)

    def __post_init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._providers = Providers(lambda name: self._enable(name, self._found[name]))

    @classmethod
    def load(cls, settings: Settings, environ: Mapping[str, str] | None = None) -> "Plugins":
        """Every entry point of the group that is wanted; a broken one is recorded, never fatal.

        Our own providers, named as the plugin that brings them, are imported when they are first asked for.

        ConfigError only for what the user wrote: a section or name that fits no plugin, or a setting it refuses.
        """
        plugins = cls(settings, os.environ if environ is None else environ)
        found = {entry.name: entry for entry in installed()}
        plugins._check_names(found)
        plugins._found.update(found)
        for name, entry in sorted(found.items(), key=lambda item: origin(item[1])[0] != hookspecs.PROJECT):
            plugins._load(name, entry)  # ours first: their names are theirs
        return plugins

    @property
    def loggers(self) -> Mapping[str, Logger]:
        """The enabled ones, by name."""
        return self._loggers

    @property
    def providers(self) -> "Mapping[str, ProviderFactory]":
        return self._providers

    def info(self) -> list[PluginInfo]:
        self._providers.load_all()
        return sorted(self._info.values(), key=lambda info: info.name)

    def register(self, plugin: object, name: str | None = None, *, version: str = "", distribution: str = "") -> str:
        """Enable an object with hookimpls; returns its name. ConfigError when it implements no hook or a wrong one."""
        chosen = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        if inspect.isclass(plugin):
            raise ConfigError(f"plugin {chosen!r} is a class; give one of its objects: {plugin.__name__}(…)")
        brought = getattr(plugin, "hookspecs", None)
        try:
            if brought is not None and brought is not hookspecs:
                self._manager.add_hookspecs(brought)
            self._manager.register(plugin, chosen)
            self._manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            raise ConfigError(f"plugin {chosen!r}: {error}") from error
        implementations = self._implementations(plugin)
        if not implementations:
            self._manager.unregister(plugin)
            raise ConfigError(f"plugin {chosen!r} implements no hook; mark its methods with @batchmeter.hookimpl")
        for hook, implementation in implementations.items():
            if hook != "price_lines" and _yields(implementation.function):
                self._manager.unregister(plugin)
                raise ConfigError(f"plugin {chosen!r}: its {hook} has a `yield`: called, it would do nothing")
        self._register_providers(chosen, implementations)
        self._register_ledgers(chosen, implementations)
        self._info[chosen] = PluginInfo(
            chosen, version, tuple(sorted(implementations)), "on", distribution=distribution
        )
        events: dict[EventType, pluggy.HookImpl] = {
            hook: implementations[hook] for hook in _EVENT_HOOKS if hook in implementations
        }
        if events:
            # A new dict: other threads may be reading the one there is.
            self._loggers = {**self._loggers, chosen: Logger(chosen, version, events)}
        return chosen

    def unregister(self, name: str) -> None:
        """Forget a plugin; its undelivered events stay in the ledger for its return."""
        self._manager.unregister(name=name)
        self._loggers = {key: logger for key, logger in self._loggers.items() if key != name}
        self._info.pop(name, None)

    def register_commands(self, cli: "click.Group") -> None:
        """Every plugin's commands; a plugin that fails is warned of."""
        for implementation in self._manager.hook.register_commands.get_hookimpls():
            self._tried(implementation, cli)

    def collect(self, hook: str) -> list[Any]:
        """All that implementations of `hook(register)` register; one that fails registers nothing, with a warning.

        Empty for a hook that no plugin brought.
        """
        caller: pluggy.HookCaller | None = getattr(self._manager.hook, hook, None)
        found: list[Any] = []
        for implementation in [] if caller is None else caller.get_hookimpls():
            registered: list[Any] = []
            if self._tried(implementation, registered.append):
                found += registered
        return found

    def _tried(self, implementation: pluggy.HookImpl, given: object) -> bool:
        try:
            implementation.function(given)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin does, the others go on
            name, hook = implementation.plugin_name, implementation.function.__name__
            log.warning("plugin %s: %s failed: %s", name, hook, _reason(error))
            return False
        return True

    def price_lines(self, query: "PriceQuery") -> "Rates | None":
        """The first plugin's rates, if any has an opinion."""
        try:
            rates: Rates | None = self._manager.hook.price_lines(query=query)
        except SystemExit as error:  # would end the event loop
            raise RuntimeError(f"it raised SystemExit: {error}") from error
        return rates

    @property
    def prices_lines(self) -> bool:
        """Whether any plugin is a price source."""
        return bool(self._manager.hook.price_lines.get_hookimpls())

    async def redact(self, event: "Event") -> "Event":
        """The event as loggers may see it; raises what an implementation raises."""
        for implementation in self._manager.hook.redact.get_hookimpls():
            changed = await call(implementation, {"event": event})
            if changed is not None:
                event = cast("Event", changed)
        return event

    async def startup(self, client: "AsyncClient") -> None:
        """Tell every plugin; one that fails is disabled and shown as failed."""
        given: dict[str, object] = {"client": client}
        for implementation in list(self._manager.hook.startup.get_hookimpls()):
            try:
                await call_in_time(implementation, given, timeout=STARTUP_SECONDS)
            except Exception as error:
                name = implementation.plugin_name
                log.exception("plugin %s failed at startup and is disabled", name)
                info = self._info[name]
                self.unregister(name)
                self._info[name] = PluginInfo(name, info.version, info.hooks, "failed", _reason(error))

    async def shutdown(self, *, timeout: float = STARTUP_SECONDS) -> None:
        """Tell every plugin; `timeout` (seconds) is for all of them."""
        async with asyncio.TaskGroup() as group:
            for implementation in self._manager.hook.shutdown.get_hookimpls():
                group.create_task(self._shut_down(implementation, timeout))

    async def _shut_down(self, implementation: pluggy.HookImpl, timeout: float) -> None:
        try:
            await call_in_time(implementation, {}, timeout=timeout)
        except Exception:
            log.exception("plugin %s failed at shutdown", implementation.plugin_name)

    def _implementations(self, plugin: object) -> dict[str, pluggy.HookImpl]:
        callers = self._manager.get_hookcallers(plugin) or []
        return {
            caller.name: implementation
            for caller in callers
            for implementation in caller.get_hookimpls()
            if implementation.plugin is plugin
        }

    def _register_providers(self, name: str, implementations: Mapping[str, pluggy.HookImpl]) -> None:
        implementation = implementations.get("register_providers")
        if implementation is None:
            return

        def register(factory: "ProviderFactory") -> None:
            taken = factory.name in self._providers.waiting
            if taken or not self._providers.add(factory):
                raise ConfigError(f"plugin {name!r}: provider {factory.name!r} is registered already")

        implementation.function(register)

    def _register_ledgers(self, name: str, implementations: Mapping[str, pluggy.HookImpl]) -> None:
        implementation = implementations.get("register_ledgers")
        if implementation is None:
            return

        def register(scheme: str, engine: "Engine") -> None:
            if self.ledgers.setdefault(scheme, engine) is not engine:
                raise ConfigError(f"plugin {name!r}: {scheme}:// ledgers are opened by another plugin already")

        implementation.function(register)

    def _check_names(self, found: Mapping[str, EntryPoint]) -> None:
        source = self.settings.source or "settings"
        for name in (*self.settings.plugins, *(self.settings.load or ()), *self.settings.disable):
            if name not in found:
                raise ConfigError(f"{source}: no plugin named {name!r} is installed{nearest(name, found)}")

    def _load(self, name: str, entry: EntryPoint) -> None:
        distribution, version = origin(entry)
        ours = distribution == hookspecs.PROJECT
        off = self._off(name, ours=ours)
        if off:
            self._info[name] = PluginInfo(name, version, (), "off", off, distribution)
        elif ours and name not in BUILTIN_LOGGERS and name not in _LIGHT:
            self._providers.waiting.add(name)
        else:
            self._enable(name, entry)

    def _enable(self, name: str, entry: EntryPoint) -> None:
        distribution, version = origin(entry)
        try:
            plugin = self._construct(name, entry.load())
            self.register(plugin, name, version=version, distribution=distribution)
        except ConfigError as error:
            if name in self.settings.plugins:
                raise
            self._failed(name, version, distribution, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a plugin does at import, the others live
            self._failed(name, version, distribution, _reason(error))

    def _failed(self, name: str, version: str, distribution: str, reason: str) -> None:
        log.warning("plugin %s cannot be used: %s", name, reason)
        self._info[name] = PluginInfo(name, version, (), "failed", reason, distribution)

    def _off(self, name: str, *, ours: bool) -> str:
        """Why this plugin stays off; empty when it is wanted."""
        section = self.settings.plugins.get(name)
        if name in self.settings.disable:
            return "disabled by BATCHMETER_DISABLE"
        if section is not None and section.get("enabled") is False:
            return f"disabled by [plugins.{name}]"
        if ours and name not in BUILTIN_LOGGERS:
            return ""
        if self.settings.load is not None:
            return "" if name in self.settings.load else "not named in BATCHMETER_PLUGINS"
        if not ours or section is not None or any(self.environ.get(key) for key in BUILTIN_LOGGERS[name]):
            return ""
        return f"not configured: set [plugins.{name}] or {BUILTIN_LOGGERS[name][0]}"

    def _construct(self, name: str, value: object) -> object:
        section = {key: item for key, item in self.settings.plugins.get(name, {}).items() if key != "enabled"}
        where = f"{self.settings.source or 'settings'}: [plugins.{name}]"
        if not inspect.isclass(value):
            if section:
                raise ConfigError(f"{where}: this plugin takes no settings")
            return value
        make = cast("Callable[..., object]", value)
        model = getattr(value, "Settings", None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            return make(validated(model, section, where))
        _check_arguments(make, section, where)
        return make(**section)


def _yields(function: Callable[..., object]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _check_arguments(make: Callable[..., object], section: Mapping[str, Any], where: str) -> None:
    parameters = inspect.signature(make).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in section:
        if key not in parameters:
            raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, parameters)}")


def _reason(error: BaseException) -> str:
    """One line for people; a missing vendor SDK says what to install."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error}: install the plugin's extra, such as pip install 'batchmeter[all]'"
    return f"{type(error).__name__}: {error}"


def ledger_engines(scheme: str) -> "dict[str, Engine]":
    """Engines of installed plugins, without the rest of them: looked for until one opens the scheme."""
    found: dict[str, Engine] = {}
    for entry in sorted(installed(), key=lambda entry: not scheme.startswith(entry.name)):  # the likely one first
        if scheme in found:
            break
        try:
            implementation = getattr(entry.load(), "register_ledgers", None)
        except Exception as error:  # noqa: BLE001 - as when it is enabled
            log.debug("plugin %s cannot be used: %s", entry.name, _reason(error))
            continue
        if implementation is not None:
            implementation(found.setdefault)
    return found
