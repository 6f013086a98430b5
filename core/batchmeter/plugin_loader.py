"""Decides which installed plugins are wanted, imports them and makes them, so that a broken one is recorded, never fatal."""

import inspect
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Literal, Protocol, cast

from pydantic import BaseModel, ValidationError

from .config import Settings, explained, filled, nearest, validated
from .discovery import Installed, call_hook, contained, declared, defines, installed_plugins, marked
from .errors import ConfigError
from .events import register_event

if TYPE_CHECKING:
    from .providers import ProviderFactory

log = logging.getLogger("batchmeter")

_WAITING = {"register_providers", "register_commands", "register_events", "startup", "shutdown"}
"""Hooks of plugins that are made only once one of their providers is used."""


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One line of `batchmeter plugins`."""

    name: str
    version: str
    hooks: tuple[str, ...]
    state: Literal["on", "off", "failed"]
    reason: str = ""
    distribution: str = ""


class Registry(Protocol):
    """Where loaded plugins go: the plugins of one client."""

    infos: dict[str, PluginInfo]
    refused: list[PluginInfo]
    suspects: dict[str, str]
    configured: set[str]
    providers: "Providers"

    def add_hookspecs(self, specs: object) -> None: ...

    def register(self, plugin: object, name: str, *, version: str, distribution: str) -> str: ...


class Loader:
    """Loads installed plugins into a registry."""

    def __init__(self, plugins: Registry, settings: Settings, environ: Mapping[str, str]) -> None:
        self._plugins = plugins
        self._settings = settings
        self._environ = environ
        self._source = settings.source or "settings"

    def load(self) -> None:
        """ConfigError only for what the user wrote: a section or name that fits no plugin, or a setting it refuses."""
        found = installed_plugins()
        self._check_names({one.name for one in found})
        wanted = [one for one in found if self._is_wanted(one)]
        imported = [(one, module) for one in wanted if (module := self._import(one))]  # they bring each other's hooks
        for one, module in imported:
            self._load(one, module)

    def _check_names(self, found: Collection[str]) -> None:
        for name in (*self._settings.plugins, *(self._settings.load or ()), *self._settings.disable):
            if name not in found:
                raise ConfigError(f"{self._source}: no plugin named {name!r} is installed{nearest(name, found)}")

    def _is_wanted(self, plugin: Installed) -> bool:
        """Whether its module is to be imported; else it is written down why not."""
        if plugin.refusal:
            log.error("plugin %s of %s is not used: %s", plugin.name, plugin.distribution, plugin.refusal)
            self._plugins.refused.append(_info(plugin, "failed", plugin.refusal))
            self._suspect(plugin, f"of {plugin.distribution} is not used: {plugin.refusal}")
        elif plugin.name in self._settings.disable:
            self._suspect(plugin, "is disabled by BATCHMETER_DISABLE")
            self._off(plugin, "disabled by BATCHMETER_DISABLE")
        elif not self._is_enabled(plugin.name):
            self._off(plugin, f"disabled by [plugins.{plugin.name}]")
        elif not plugin.ours and self._settings.load is not None and plugin.name not in self._settings.load:
            self._suspect(plugin, "is not named in BATCHMETER_PLUGINS")
            self._off(plugin, "not named in BATCHMETER_PLUGINS")
        else:
            return True
        return False

    def _is_enabled(self, name: str) -> bool:
        """As `[plugins.<name>] enabled` says. ConfigError for anything but true and false."""
        enabled = self._settings.plugins.get(name, {}).get("enabled", True)
        return validated(_Switch, {"enabled": enabled}, f"{self._source}: [plugins.{name}]").enabled

    def _import(self, plugin: Installed) -> ModuleType | None:
        """Import the plugin's module, and add the hooks and events that it brings; None where that fails."""
        if plugin.name in self._settings.plugins or plugin.name in (self._settings.load or ()):
            self._plugins.configured.add(plugin.name)
        try:
            module = plugin.module()
            self._plugins.add_hookspecs(getattr(module, "hookspecs", None))
            call_hook(plugin, "register_events", register_event)
            if any(self._environ.get(variable) for variable in declared(module, "env")):
                self._plugins.configured.add(plugin.name)
        except Exception as error:  # noqa: BLE001 - whatever a plugin does at import, the others live
            self._failed(plugin, error)
            return None
        return module

    def _load(self, plugin: Installed, module: ModuleType) -> None:
        try:
            if unset := self._unset(plugin, declared(module, "env")):
                self._off(plugin, unset)
                return
            providers = declared(module, "providers")
            # A redactor or logger that also brings a provider cannot wait until that is used.
            if providers and (plugin.ours or marked(plugin.load()) <= _WAITING):
                self._plugins.providers.promise(providers, lambda: self._enable(plugin))
                return
        except Exception as error:  # noqa: BLE001 - whatever a plugin does when it is asked, the others live
            self._failed(plugin, error)
            return
        self._enable(plugin)

    def _unset(self, plugin: Installed, variables: Collection[str]) -> str:
        """Why a plugin that acts only when it is told to stays off; empty when it is on."""
        if not variables:
            return ""
        if self._settings.load is not None:
            return "" if plugin.name in self._settings.load else "not named in BATCHMETER_PLUGINS"
        if plugin.name in self._plugins.configured:
            return ""
        return f"not configured: set [plugins.{plugin.name}] or {next(iter(variables))}"

    def _enable(self, plugin: Installed) -> None:
        try:
            value = plugin.load()
            # A stranger's settings run code of its own too.
            made = (
                self.construct(plugin.name, value)
                if plugin.ours
                else contained(partial(self.construct, plugin.name, value))
            )
            self._plugins.register(made, plugin.name, version=plugin.version, distribution=plugin.distribution)
        except Exception as error:
            if isinstance(error, ConfigError) and plugin.name in self._settings.plugins:
                raise
            self._failed(plugin, error)

    def construct(self, name: str, value: object) -> object:
        """The plugin, of a class with its section's settings."""
        section = {key: item for key, item in self._settings.plugins.get(name, {}).items() if key != "enabled"}
        where = f"{self._source}: [plugins.{name}]"
        if not inspect.isclass(value):
            if section:
                raise ConfigError(f"{where}: this plugin takes no settings")
            return value
        make = cast("Callable[..., object]", value)
        model = getattr(value, "Settings", None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            return make(validated(model, filled(model, section, where), where))
        parameters = inspect.signature(make).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            for key in section.keys() - parameters:
                raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, parameters)}")
        return make(**filled(BaseModel, section, where))

    def _off(self, plugin: Installed, why: str) -> None:
        self._plugins.infos[plugin.name] = _info(plugin, "off", why)

    def _failed(self, plugin: Installed, error: Exception) -> None:
        why = reason(error)
        log.warning("plugin %s cannot be used: %s", plugin.name, why)
        self._suspect(plugin, f"cannot be used: {why}")
        self._plugins.infos[plugin.name] = _info(plugin, "failed", why)

    def _suspect(self, plugin: Installed, why: str) -> None:
        if not plugin.ours and defines(plugin, "redact"):
            self._plugins.suspects[plugin.name] = why


class _Switch(BaseModel):
    """The one setting that every plugin has."""

    enabled: bool


def _info(plugin: Installed, state: Literal["off", "failed"], why: str) -> PluginInfo:
    return PluginInfo(plugin.name, plugin.version, (), state, why, plugin.distribution)


def reason(error: BaseException) -> str:
    """One line for people, without the values that a model refused; a missing vendor SDK says what to install."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error}: install the plugin's extra, such as pip install 'batchmeter[all]'"
    if isinstance(error, ConfigError):
        return str(error)
    return f"{type(error).__name__}: {explained(error) if isinstance(error, ValidationError) else error}"


class Providers(Mapping[str, "ProviderFactory"]):
    """Provider classes by name. Promised names count as present; asking for one loads its plugin, which adds it."""

    def __init__(self) -> None:
        self._made: dict[str, ProviderFactory] = {}
        self._promised: dict[str, Callable[[], None]] = {}

    def promise(self, names: Collection[str], load: Callable[[], None]) -> None:
        """`load` adds these providers. ConfigError where a name is taken."""
        for name in names:
            if name in self:
                raise ConfigError(f"provider {name!r} is registered already")
        self._promised.update(dict.fromkeys(names, load))

    def add(self, factory: "ProviderFactory") -> bool:
        """False when another class has the name."""
        return factory.name not in self._promised and self._made.setdefault(factory.name, factory) is factory

    def load_all(self) -> None:
        for name in sorted(self._promised):
            self._fetch(name)

    def __getitem__(self, name: str) -> "ProviderFactory":
        self._fetch(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._made, *self._promised}))

    def __len__(self) -> int:
        return len({*self._made, *self._promised})

    def __contains__(self, name: object) -> bool:
        return name in self._made or name in self._promised

    def _fetch(self, name: str) -> None:
        load = self._promised.get(name)
        if load is None:
            return
        for promised in [each for each, other in self._promised.items() if other is load]:
            del self._promised[promised]
        load()
