"""Decides which installed plugins are wanted, imports them and makes them, so that a broken one is recorded, never fatal."""

import inspect
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from pydantic import BaseModel

from .config import Settings, filled, nearest, validated
from .discovery import Installed, call_hook, contained, declared, defines, installed_plugins, marked
from .errors import ConfigError
from .events import register_event

if TYPE_CHECKING:
    from .providers import ProviderFactory

log = logging.getLogger("batchmeter")

CONSTRUCT_SECONDS = 20.0
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

    def add_hookspecs(self, specs: object) -> None: ...

    def promise(self, names: Collection[str], load: Callable[[], None]) -> None: ...

    def register(self, plugin: object, name: str, *, version: str, distribution: str) -> str: ...


class Loader:
    """Loads installed plugins into a registry."""

    def __init__(self, plugins: Registry, settings: Settings, environ: Mapping[str, str]) -> None:
        self._plugins = plugins
        self._settings = settings
        self._environ = environ
        self._modules: dict[str, ModuleType] = {}

    def load(self) -> None:
        """ConfigError only for what the user wrote: a section or name that fits no plugin, or a setting it refuses."""
        found = installed_plugins()
        self._check_names({one.name for one in found})
        wanted = [one for one in found if self._is_wanted(one)]
        usable = [one for one in wanted if self._import(one)]  # all of them first: they bring each other's hooks
        for one in usable:
            self._load(one, self._modules[one.name])

    def _suspect(self, plugin: Installed, why: str) -> None:
        if not plugin.ours and defines(plugin, "redact"):
            self._plugins.suspects[plugin.name] = why

    def _is_configured(self, name: str) -> bool:
        """Whether the user asked for it; a broken plugin that is only installed may be no logger at all."""
        variables = declared(self._modules[name], "env") if name in self._modules else ()
        named = name in self._settings.plugins or name in (self._settings.load or ())
        return named or any(self._environ.get(variable) for variable in variables)

    def _check_names(self, found: Collection[str]) -> None:
        source = self._settings.source or "settings"
        for name in (*self._settings.plugins, *(self._settings.load or ()), *self._settings.disable):
            if name not in found:
                raise ConfigError(f"{source}: no plugin named {name!r} is installed{nearest(name, found)}")

    def _is_wanted(self, plugin: Installed) -> bool:
        """Whether its module is to be imported; else it is written down why not."""
        if plugin.refusal:
            log.error("plugin %s of %s is not used: %s", plugin.name, plugin.distribution, plugin.refusal)
            info = PluginInfo(plugin.name, plugin.version, (), "failed", plugin.refusal, plugin.distribution)
            self._plugins.refused.append(info)
            return False
        section = self._settings.plugins.get(plugin.name, {})
        if plugin.name in self._settings.disable:
            self._suspect(plugin, "is disabled by BATCHMETER_DISABLE")
            return self._off(plugin, "disabled by BATCHMETER_DISABLE")
        if section.get("enabled") is False:
            return self._off(plugin, f"disabled by [plugins.{plugin.name}]")
        if not plugin.ours and self._settings.load is not None and plugin.name not in self._settings.load:
            self._suspect(plugin, "is not named in BATCHMETER_PLUGINS")
            return self._off(plugin, "not named in BATCHMETER_PLUGINS")
        return True

    def _off(self, plugin: Installed, why: str) -> bool:
        self._plugins.infos[plugin.name] = PluginInfo(plugin.name, plugin.version, (), "off", why, plugin.distribution)
        return False

    def _import(self, plugin: Installed) -> bool:
        """Its module, and the hooks and events that it brings."""
        if self._is_configured(plugin.name):
            self._plugins.configured.add(plugin.name)
        try:
            module = plugin.module()
            self._plugins.add_hookspecs(getattr(module, "hookspecs", None))
            call_hook(plugin, "register_events", register_event)
        except Exception as error:  # noqa: BLE001 - whatever a plugin does at import, the others live
            self._failed(plugin, reason(error))
            return False
        self._modules[plugin.name] = module
        if self._is_configured(plugin.name):
            self._plugins.configured.add(plugin.name)
        return True

    def _load(self, plugin: Installed, module: ModuleType) -> None:
        try:
            unset = self._unset(plugin, declared(module, "env"))
            if unset:
                self._off(plugin, unset)
                return
            providers = declared(module, "providers")
            if providers and self._only_provides(plugin):
                self._plugins.promise(providers, lambda: self._enable(plugin))
                return
        except ConfigError as error:
            self._failed(plugin, str(error))
            return
        except Exception as error:  # noqa: BLE001 - whatever a plugin does when it is asked, the others live
            self._failed(plugin, reason(error))
            return
        self._enable(plugin)

    def _only_provides(self, plugin: Installed) -> bool:
        """A redactor or logger that also brings a provider cannot wait until that is used."""
        return plugin.ours or marked(plugin.load()) <= _WAITING

    def _unset(self, plugin: Installed, variables: Collection[str]) -> str:
        """Why a plugin that acts only when it is told to stays off; empty when it is on."""
        if not variables:
            return ""
        if self._settings.load is not None:
            return "" if plugin.name in self._settings.load else "not named in BATCHMETER_PLUGINS"
        if plugin.name in self._settings.plugins or any(self._environ.get(name) for name in variables):
            return ""
        return f"not configured: set [plugins.{plugin.name}] or {next(iter(variables))}"

    def _enable(self, plugin: Installed) -> None:
        try:
            made = self.construct(plugin.name, plugin.load(), ours=plugin.ours)
            self._plugins.register(made, plugin.name, version=plugin.version, distribution=plugin.distribution)
        except ConfigError as error:
            if plugin.name in self._settings.plugins:
                raise
            self._failed(plugin, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a plugin does when it is made, the others live
            self._failed(plugin, reason(error))

    def _failed(self, plugin: Installed, why: str) -> None:
        log.warning("plugin %s cannot be used: %s", plugin.name, why)
        self._suspect(plugin, f"cannot be used: {why}")
        self._plugins.infos[plugin.name] = PluginInfo(
            plugin.name, plugin.version, (), "failed", why, plugin.distribution
        )

    def construct(self, name: str, value: object, *, ours: bool = True) -> object:
        section = {key: item for key, item in self._settings.plugins.get(name, {}).items() if key != "enabled"}
        where = f"{self._settings.source or 'settings'}: [plugins.{name}]"
        if not inspect.isclass(value):
            if section:
                raise ConfigError(f"{where}: this plugin takes no settings")
            return value
        make = cast("Callable[..., object]", value)
        model = getattr(value, "Settings", None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            chosen = validated(model, filled(model, section, where), where)
            return make(chosen) if ours else contained(lambda: make(chosen), seconds=CONSTRUCT_SECONDS)
        _check_arguments(make, section, where)
        return make(**section) if ours else contained(lambda: make(**section), seconds=CONSTRUCT_SECONDS)


def _check_arguments(make: Callable[..., object], section: Mapping[str, Any], where: str) -> None:
    parameters = inspect.signature(make).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in section:
        if key not in parameters:
            raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, parameters)}")


def reason(error: BaseException) -> str:
    """One line for people; a missing vendor SDK says what to install."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error}: install the plugin's extra, such as pip install 'batchmeter[all]'"
    return f"{type(error).__name__}: {error}"


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
