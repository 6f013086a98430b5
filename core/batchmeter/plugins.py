"""Find, load, enable and isolate plugins: the typed face over pluggy. Nothing else calls a hook."""

import asyncio
import inspect
import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, cast

import pluggy
from pydantic import BaseModel

from . import hookspecs
from .config import Settings, nearest, validated
from .discovery import Installed, declared, installed_plugins, registered
from .errors import BatchmeterError, ConfigError, SubmissionRefusedError
from .isolation import contained
from .loggers import Logger, call, call_in_time
from .on_demand import Providers
from .provider_guard import guarded

if TYPE_CHECKING:
    from .events import Event, EventType
    from .host import Estimate, PlannedBatch, PluginHost
    from .ledger.session import Engine
    from .pricing.groups import PriceQuery, Rates
    from .providers import ProviderFactory

log = logging.getLogger("batchmeter")

STARTUP_SECONDS = 30.0
CONSTRUCT_SECONDS = 20.0
BEFORE_SUBMIT_SECONDS = 10.0
_MODULE_HOOKS = ("register_commands", "register_events")
"""They are called before settings are read."""
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
    _refused: list[PluginInfo] = field(default_factory=list[PluginInfo], init=False)
    _specs: list[ModuleType] = field(default_factory=lambda: [hookspecs], init=False, repr=False)
    _modules: dict[str, ModuleType] = field(default_factory=dict[str, ModuleType], init=False, repr=False)

    def __post_init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._providers = Providers()

    @classmethod
    def load(cls, settings: Settings, environ: Mapping[str, str] | None = None) -> "Plugins":
        """Every installed plugin that is wanted; a broken one is recorded, never fatal.

        ConfigError only for what the user wrote: a section or name that fits no plugin, or a setting it refuses.
        """
        plugins = cls(settings, os.environ if environ is None else environ)
        found = installed_plugins()
        plugins._check_names({one.name for one in found})
        wanted = [one for one in found if plugins._is_wanted(one)]
        usable = [one for one in wanted if plugins._import(one)]  # all of them first: they bring each other's hooks
        for one in usable:
            plugins._load(one, plugins._modules[one.name])
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
        return sorted([*self._info.values(), *self._refused], key=lambda info: info.name)

    def register(self, plugin: object, name: str | None = None, *, version: str = "", distribution: str = "") -> str:
        """Enable an object with hookimpls; returns its name. ConfigError when it implements no hook or a wrong one."""
        chosen = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        if inspect.isclass(plugin):
            raise ConfigError(f"plugin {chosen!r} is a class; give one of its objects: {plugin.__name__}(…)")
        brought = getattr(plugin, "hookspecs", None)
        try:
            self._add_hookspecs(brought)
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
        for hook in _MODULE_HOOKS:
            if hook in implementations and not isinstance(plugin, ModuleType):
                self._manager.unregister(plugin)
                raise ConfigError(f"plugin {chosen!r}: {hook} is a function of the plugin's package, not a method")
        self._register_providers(chosen, implementations, strange=distribution not in ("", hookspecs.PROJECT))
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

    async def startup(self, host: "PluginHost", client: object = None) -> None:
        """Tell every plugin; one that fails is disabled and shown as failed. `client` is for plugins that still take it."""
        given: dict[str, object] = {"host": host, "client": client}
        for implementation in list(self._manager.hook.startup.get_hookimpls()):
            name = implementation.plugin_name
            if "client" in implementation.argnames:
                log.warning(
                    "plugin %s: startup(client) goes away with the next release: take `host` in its place", name
                )
            try:
                await call_in_time(implementation, given, timeout=STARTUP_SECONDS)
            except Exception as error:
                log.exception("plugin %s failed at startup and is disabled", name)
                info = self._info[name]
                self.unregister(name)
                self._info[name] = replace(info, state="failed", reason=_reason(error))

    async def before_submit(self, submission: "PlannedBatch", estimate: "Estimate | None") -> None:
        """Ask every plugin; SubmissionRefusedError, or the plugin's own BatchmeterError, where one refuses."""
        given: dict[str, object] = {"submission": submission, "estimate": estimate}
        for implementation in self._manager.hook.before_submit.get_hookimpls():
            try:
                await call_in_time(implementation, given, timeout=BEFORE_SUBMIT_SECONDS)
            except BatchmeterError:
                raise
            except Exception as error:
                raise SubmissionRefusedError(f"plugin {implementation.plugin_name}: {_reason(error)}") from error

    def call_hook(self, name: str, /, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook that a plugin brought; (plugin's name, result) of each implementation that did not fail."""
        results: list[tuple[str, Any]] = []
        caller: pluggy.HookCaller = getattr(self._manager.hook, name)
        for implementation in caller.get_hookimpls():
            chosen = {each: arguments[each] for each in implementation.argnames if each in arguments}
            try:
                results.append((implementation.plugin_name, implementation.function(**chosen)))
            except Exception:
                log.exception("plugin %s: its %s failed", implementation.plugin_name, name)
        return results

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

    def _add_hookspecs(self, specs: object) -> None:
        """Those of a module that a plugin's package names `hookspecs`."""
        if isinstance(specs, ModuleType) and specs not in self._specs:
            self._manager.add_hookspecs(specs)
            self._specs.append(specs)

    def _implementations(self, plugin: object) -> dict[str, pluggy.HookImpl]:
        callers = self._manager.get_hookcallers(plugin) or []
        return {
            caller.name: implementation
            for caller in callers
            for implementation in caller.get_hookimpls()
            if implementation.plugin is plugin
        }

    def _register_providers(self, name: str, hooks: Mapping[str, pluggy.HookImpl], *, strange: bool) -> None:
        implementation = hooks.get("register_providers")
        if implementation is None:
            return

        def register(factory: "ProviderFactory") -> None:
            if not self._providers.add(guarded(factory)):
                raise ConfigError(f"plugin {name!r}: provider {factory.name!r} is registered already")

        if strange:
            contained(lambda: implementation.function(register), seconds=CONSTRUCT_SECONDS)
        else:
            implementation.function(register)

    def _register_ledgers(self, name: str, implementations: Mapping[str, pluggy.HookImpl]) -> None:
        implementation = implementations.get("register_ledgers")
        if implementation is None:
            return

        def register(scheme: str, engine: "Engine") -> None:
            if self.ledgers.setdefault(scheme, engine) is not engine:
                raise ConfigError(f"plugin {name!r}: {scheme}:// ledgers are opened by another plugin already")

        implementation.function(register)

    def _check_names(self, found: Collection[str]) -> None:
        source = self.settings.source or "settings"
        for name in (*self.settings.plugins, *(self.settings.load or ()), *self.settings.disable):
            if name not in found:
                raise ConfigError(f"{source}: no plugin named {name!r} is installed{nearest(name, found)}")

    def _is_wanted(self, plugin: Installed) -> bool:
        """Whether its module is to be imported; else it is written down why not."""
        if plugin.refusal:
            log.error("plugin %s of %s is not used: %s", plugin.name, plugin.distribution, plugin.refusal)
            info = PluginInfo(plugin.name, plugin.version, (), "failed", plugin.refusal, plugin.distribution)
            self._refused.append(info)
            return False
        section = self.settings.plugins.get(plugin.name, {})
        if plugin.name in self.settings.disable:
            return self._off(plugin, "disabled by BATCHMETER_DISABLE")
        if section.get("enabled") is False:
            return self._off(plugin, f"disabled by [plugins.{plugin.name}]")
        if not plugin.ours and self.settings.load is not None and plugin.name not in self.settings.load:
            return self._off(plugin, "not named in BATCHMETER_PLUGINS")
        return True

    def _off(self, plugin: Installed, reason: str) -> bool:
        self._info[plugin.name] = PluginInfo(plugin.name, plugin.version, (), "off", reason, plugin.distribution)
        return False

    def _import(self, plugin: Installed) -> bool:
        """Its module, and the hooks and events that it brings."""
        try:
            module = plugin.module()
            self._add_hookspecs(getattr(module, "hookspecs", None))
        except Exception as error:  # noqa: BLE001 - whatever a plugin does at import, the others live
            self._failed(plugin, _reason(error))
            return False
        self._modules[plugin.name] = module
        return True

    def _load(self, plugin: Installed, module: ModuleType) -> None:
        try:
            unset = self._unset(plugin, declared(module, "env"))
            if unset:
                self._off(plugin, unset)
                return
            providers = declared(module, "providers")
            if providers:
                self._providers.promise(providers, lambda: self._enable(plugin))
                return
        except ConfigError as error:
            self._failed(plugin, str(error))
            return
        self._enable(plugin)

    def _unset(self, plugin: Installed, variables: Collection[str]) -> str:
        """Why a plugin that acts only when it is told to stays off; empty when it is on."""
        if not variables:
            return ""
        if self.settings.load is not None:
            return "" if plugin.name in self.settings.load else "not named in BATCHMETER_PLUGINS"
        if plugin.name in self.settings.plugins or any(self.environ.get(name) for name in variables):
            return ""
        return f"not configured: set [plugins.{plugin.name}] or {next(iter(variables))}"

    def _enable(self, plugin: Installed) -> None:
        try:
            made = self._construct(plugin.name, plugin.load(), ours=plugin.ours)
            self.register(made, plugin.name, version=plugin.version, distribution=plugin.distribution)
        except ConfigError as error:
            if plugin.name in self.settings.plugins:
                raise
            self._failed(plugin, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a plugin does when it is made, the others live
            self._failed(plugin, _reason(error))

    def _failed(self, plugin: Installed, reason: str) -> None:
        log.warning("plugin %s cannot be used: %s", plugin.name, reason)
        self._info[plugin.name] = PluginInfo(plugin.name, plugin.version, (), "failed", reason, plugin.distribution)

    def _construct(self, name: str, value: object, *, ours: bool = True) -> object:
        section = {key: item for key, item in self.settings.plugins.get(name, {}).items() if key != "enabled"}
        where = f"{self.settings.source or 'settings'}: [plugins.{name}]"
        if not inspect.isclass(value):
            if section:
                raise ConfigError(f"{where}: this plugin takes no settings")
            return value
        make = cast("Callable[..., object]", value)
        model = getattr(value, "Settings", None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            chosen = validated(model, section, where)
            return make(chosen) if ours else contained(lambda: make(chosen), seconds=CONSTRUCT_SECONDS)
        _check_arguments(make, section, where)
        return make(**section) if ours else contained(lambda: make(**section), seconds=CONSTRUCT_SECONDS)


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


def ledger_engines() -> "dict[str, Engine]":
    """URL scheme -> engine, of installed plugins, without the rest of them."""
    return registered(os.environ, "register_ledgers")
