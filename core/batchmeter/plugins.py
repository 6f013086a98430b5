"""Find, load, enable and isolate plugins: the typed face over pluggy. Nothing else calls a hook."""

import asyncio
import inspect
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from . import hookspecs
from .config import Settings
from .discovery import contained, place
from .errors import BatchmeterError, ConfigError, SubmissionRefusedError
from .events import Subscription, event_kinds
from .hook_calls import Logger, PluginManager, PluginThread, call, call_in_time, loggers_of
from .host import UploadInfo
from .plugin_loader import Loader, PluginInfo, Providers, reason
from .provider_guard import guarded
from .uploads import Readers

if TYPE_CHECKING:
    from .events import Event
    from .host import Estimate, EstimateQuery, PlannedBatch, PluginHost
    from .ledger.session import Engine
    from .pricing.groups import PriceQuery, PriceSource, Rates
    from .providers import Provider, ProviderFactory

log = logging.getLogger("batchmeter")

STARTUP_SECONDS = 30.0
CONSTRUCT_SECONDS = 20.0
GUARD_SECONDS = 10.0
_MODULE_HOOKS = ("register_commands", "register_events")
"""Hooks that are called before settings are read."""


@dataclass(eq=False)
class Plugins:
    """The plugins of one client."""

    settings: Settings = field(default_factory=Settings)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    _manager: PluginManager = field(init=False, repr=False)
    infos: dict[str, PluginInfo] = field(default_factory=dict[str, PluginInfo], init=False)
    _loggers: dict[str, Logger] = field(default_factory=dict[str, Logger], init=False, repr=False)
    _providers: Providers = field(init=False, repr=False)
    ledgers: "dict[str, Engine]" = field(default_factory=dict[str, "Engine"], init=False, repr=False)
    """URL scheme -> the engine that opens such ledgers."""
    _subscriptions: tuple[Subscription, ...] | None = field(default=None, init=False, repr=False)
    suspects: dict[str, str] = field(default_factory=dict[str, str], init=False, repr=False)
    """Installed plugins that would redact, as far as can be told, and do not work here -> why."""
    configured: set[str] = field(default_factory=set[str], init=False, repr=False)
    """Plugins that the user has asked for, by a section, a variable or their name."""
    _threads: dict[str, PluginThread] = field(default_factory=dict[str, PluginThread], init=False, repr=False)
    _apart: bool = field(default=False, init=False, repr=False)
    """The program's own plugins run apart, too."""
    refused: list[PluginInfo] = field(default_factory=list[PluginInfo], init=False)
    _host: "PluginHost | None" = field(default=None, init=False, repr=False)
    _specs: list[ModuleType] = field(default_factory=lambda: [hookspecs], init=False, repr=False)
    _companions: "dict[str, hookspecs.Companion]" = field(default_factory=dict[str, hookspecs.Companion], init=False)

    def __post_init__(self) -> None:
        self._manager = PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._providers = Providers()

    @classmethod
    def load(cls, settings: Settings, environ: Mapping[str, str] | None = None) -> "Plugins":
        """Every installed plugin that is wanted; a broken one is recorded, never fatal.

        ConfigError only for what the user wrote: a section or name that fits no plugin, or a setting it refuses.
        """
        plugins = cls(settings, os.environ if environ is None else environ)
        Loader(plugins, settings, plugins.environ).load()
        return plugins

    @property
    def loggers(self) -> Mapping[str, Logger]:
        """The enabled ones, by name."""
        return self._loggers

    @property
    def callbacks(self) -> tuple[str, ...]:
        """Of the loggers those that belong to this program alone."""
        return tuple(name for name, logger in self._loggers.items() if logger.scoped)

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Loggers that are owed events: those that are on, and those that are configured but cannot be used. The same tuple
        until something changes."""
        if self._subscriptions is None:
            self._subscriptions = tuple(self._subscribing())
        return self._subscriptions

    @property
    def redactors(self) -> frozenset[str]:
        """Plugins with a `redact` that work here."""
        return frozenset(name for name, info in self.infos.items() if info.state == "on" and "redact" in info.hooks)

    def _subscribing(self) -> Iterator[Subscription]:
        for name, info in list(self.infos.items()):
            logger = self._loggers.get(name)
            if info.state == "on":
                kinds = {*(logger.handles if logger else ()), *(hook for hook in info.hooks if hook == "redact")}
                yield Subscription(name, frozenset(kinds), scoped=bool(logger and logger.scoped))
                for own in (f"{name}.{hook}" for hook in info.hooks if hook in self._companions):
                    beside = self._loggers.get(own)
                    yield Subscription(own, beside.handles, beside.scoped) if beside else Subscription(own)
            elif info.state == "failed" and (info.hooks or name in self.configured):
                heard = info.hooks or ((*event_kinds(), "redact") if name in self.suspects else ())
                kinds = {hook for hook in heard if hook == "redact" or hook in event_kinds()}
                if kinds or not info.hooks:  # one that was known to handle none is owed none
                    yield Subscription(name, frozenset(kinds), problem=info.reason)
            elif name in self.suspects:  # so that no process without it sends what it would have redacted
                yield Subscription(name, frozenset({"redact"}), problem=f"it {self.suspects[name]}")

    @property
    def providers(self) -> "Mapping[str, ProviderFactory]":
        return self._providers

    def promise(self, names: Collection[str], load: Callable[[], None]) -> None:
        """Providers that `load` registers once one of them is asked for."""
        self._providers.promise(names, load)

    def get(self, name: str) -> object | None:
        """The plugin itself; None where it is not on."""
        found: object | None = self._manager.get_plugin(name)
        return found

    def info(self) -> list[PluginInfo]:
        self._providers.load_all()
        return sorted([*self.infos.values(), *self.refused], key=lambda info: info.name)

    def register(
        self,
        plugin: object,
        name: str | None = None,
        *,
        version: str = "",
        distribution: str = "",
        scoped: bool = False,
    ) -> str:
        """Enable an object with hookimpls; returns its name. ConfigError when it implements no hook or a wrong one.

        `scoped` (a plugin may say it itself): it is owed only the batches that this program submits or settles.
        """
        chosen = name or _name(plugin)
        scoped = scoped or getattr(plugin, "scoped", False) is True
        if inspect.isclass(plugin):
            raise ConfigError(f"plugin {chosen!r} is a class; give one of its objects: {plugin.__name__}(…)")
        brought = getattr(plugin, "hookspecs", None)
        try:
            self.add_hookspecs(brought)
            self._manager.register(plugin, chosen)
            self._manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            raise ConfigError(f"plugin {chosen!r}: {error}") from error
        implementations = self._implementations(plugin)
        if (fault := _fault(plugin, implementations)) is not None:
            self._manager.unregister(plugin)
            raise ConfigError(f"plugin {chosen!r}{fault}")
        for hook, add in (("register_providers", self._add_provider), ("register_ledgers", self._add_ledger)):
            if hook in implementations:
                register = partial(implementations[hook].function, partial(add, chosen))
                strange = distribution not in ("", hookspecs.PROJECT)
                contained(register, seconds=CONSTRUCT_SECONDS) if strange else register()
        self.infos[chosen] = PluginInfo(
            chosen, version, tuple(sorted(implementations)), "on", distribution=distribution
        )
        self._give_thread(chosen, implementations, distribution)
        every = Logger(chosen, version, implementations, scoped, self._host, self._threads.get(chosen))
        # A new dict: other threads may be reading the one there is.
        self._loggers = {**self._loggers, **loggers_of(every, plugin, self._companions, self._manager.hook)}
        self._subscriptions = None
        return chosen

    def _give_thread(self, name: str, implementations: Mapping[str, pluggy.HookImpl], distribution: str) -> None:
        """`async def` hooks run apart; not ours, nor those of older plugins, whose client belongs to its own loop.

        What the program itself gave may use what lives in its loop, and stays in it where the client runs in that.
        """
        old = "startup" in implementations and "client" in implementations["startup"].argnames
        strange = distribution != hookspecs.PROJECT and (distribution != "" or self._apart)
        if strange and not old:
            self._threads.setdefault(name, PluginThread(name))

    def run_apart(self) -> None:
        """The client's loop is nobody's own: also callbacks and the program's own objects get loops of their own."""
        self._apart = True
        for name, info in self.infos.items():
            plugin = self._manager.get_plugin(name)
            if plugin is not None:
                self._give_thread(name, self._implementations(plugin), info.distribution)
        threads = {key: self._threads.get(logger.plugin or key) for key, logger in self._loggers.items()}
        self._loggers = {key: replace(logger, thread=threads[key]) for key, logger in self._loggers.items()}

    def unregister(self, name: str) -> None:
        """Forget a plugin; its undelivered events stay in the ledger for its return."""
        self._manager.unregister(name=name)
        self._subscriptions = None
        self._loggers = {key: one for key, one in self._loggers.items() if name not in (key, one.plugin)}
        self.infos.pop(name, None)

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
            log.warning("plugin %s: %s failed: %s", name, hook, reason(error))
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
            name = implementation.plugin_name
            changed = await call(implementation, {"event": event}, thread=self._threads.get(name))
            if changed is not None:
                event = _redacted(name, event, changed)
        return event

    async def startup(self, host: "PluginHost", client: object = None) -> None:
        """Tell every plugin; one that fails is disabled and shown as failed. `client` is for plugins that still take it."""
        self._host, given = host, {"host": host, "client": client}
        self._loggers = {name: replace(logger, host=host) for name, logger in self._loggers.items()}
        for implementation in list(self._manager.hook.startup.get_hookimpls()):
            name = implementation.plugin_name
            if "client" in implementation.argnames:
                log.warning(
                    "plugin %s: startup(client) goes away with the next release: take `host` in its place", name
                )
            try:
                await self._call_in_time(implementation, given, STARTUP_SECONDS)
            except Exception as error:
                log.exception("plugin %s failed at startup and is disabled", name)
                info = self.infos[name]
                self.unregister(name)
                self.infos[name] = replace(info, state="failed", reason=reason(error))
                if "redact" in info.hooks:
                    self.suspects[name] = f"failed at startup: {reason(error)}"
                self._subscriptions = None

    def read_upload(self, provider: "Provider", purpose: str | None, filename: str, prices: "PriceSource") -> Readers:
        """The plugins' readers of an upload that begins, a stranger's before ours."""
        upload = UploadInfo(provider.account, provider.name, purpose, filename, prices, self.guarded)
        found = reversed(self.call_hook("read_upload", upload=upload))
        return Readers([(name, reader) for name, reader in found if reader is not None])

    async def estimate_batch(self, query: "EstimateQuery") -> "Estimate | None":
        for implementation in reversed(self._manager.hook.estimate_batch.get_hookimpls()):
            try:
                found: Estimate | None = await self._call_in_time(implementation, {"query": query})
            except Exception:
                log.exception("plugin %s: its estimate_batch failed", implementation.plugin_name)
            else:
                if found is not None:
                    return found
        return None

    async def _call_in_time(
        self, implementation: pluggy.HookImpl, given: Mapping[str, object], timeout: float = GUARD_SECONDS
    ) -> Any:
        thread = self._threads.get(implementation.plugin_name)
        return await call_in_time(implementation, given, timeout=timeout, thread=thread)

    async def before_submit(self, submission: "PlannedBatch", estimate: "Estimate | None") -> None:
        """Ask every plugin; SubmissionRefusedError, or the plugin's own BatchmeterError, where one refuses."""
        given: dict[str, object] = {"submission": submission, "estimate": estimate}
        for implementation in self._manager.hook.before_submit.get_hookimpls():
            try:
                await self._call_in_time(implementation, given)
            except BatchmeterError:
                raise
            except Exception as error:
                raise SubmissionRefusedError(f"plugin {implementation.plugin_name}: {reason(error)}") from error

    @property
    def guarded(self) -> bool:
        """Whether any plugin is asked before a batch is submitted."""
        return bool(self._manager.hook.before_submit.get_hookimpls())

    async def submit_dropped(self, submission: "PlannedBatch", reason: str) -> None:
        """Tell every plugin; one that fails is logged."""
        given: dict[str, object] = {"submission": submission, "reason": reason}
        for implementation in self._manager.hook.submit_dropped.get_hookimpls():
            try:
                await self._call_in_time(implementation, given)
            except Exception:
                log.exception("plugin %s: its submit_dropped failed", implementation.plugin_name)

    def call_hook(self, name: str, /, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook that a plugin brought; (plugin's name, result) of each implementation that did not fail."""
        results: list[tuple[str, Any]] = []
        caller: pluggy.HookCaller | None = getattr(self._manager.hook, name, None)
        for implementation in caller.get_hookimpls() if caller is not None else ():
            chosen = {each: arguments[each] for each in implementation.argnames if each in arguments}
            try:
                results.append((implementation.plugin_name, implementation.function(**chosen)))
            except (Exception, SystemExit):
                log.exception("plugin %s: its %s failed", implementation.plugin_name, name)
        return results

    async def shutdown(self, *, timeout: float = STARTUP_SECONDS) -> None:
        """Tell every plugin; `timeout` (seconds) is for all of them."""
        async with asyncio.TaskGroup() as group:
            for implementation in self._manager.hook.shutdown.get_hookimpls():
                group.create_task(self._shut_down(implementation, timeout))
        for thread in self._threads.values():
            thread.close()

    async def _shut_down(self, implementation: pluggy.HookImpl, timeout: float) -> None:
        try:
            await self._call_in_time(implementation, {}, timeout)
        except Exception:
            log.exception("plugin %s failed at shutdown", implementation.plugin_name)

    def add_hookspecs(self, specs: object) -> None:
        """Hooks of a module that a plugin's package names `hookspecs`."""
        if isinstance(specs, ModuleType) and specs not in self._specs:
            self._manager.add_hookspecs(specs)
            self._specs.append(specs)
            self._companions |= hookspecs.companions_in(specs)

    def _implementations(self, plugin: object) -> dict[str, pluggy.HookImpl]:
        callers = self._manager.get_hookcallers(plugin) or []
        found = ((caller.name, each) for caller in callers for each in caller.get_hookimpls())
        return {name: each for name, each in found if each.plugin is plugin}

    def _add_provider(self, plugin: str, factory: "ProviderFactory") -> None:
        if not self._providers.add(guarded(factory)):
            raise ConfigError(f"plugin {plugin!r}: provider {factory.name!r} is registered already")

    def _add_ledger(self, plugin: str, scheme: str, engine: "Engine") -> None:
        if self.ledgers.setdefault(scheme, engine) is not engine:
            raise ConfigError(f"plugin {plugin!r}: {scheme}:// ledgers are opened by another plugin already")


def _redacted(name: str, event: "Event", changed: object) -> "Event":
    """RuntimeError where it is no longer the same event: nothing but what a redactor made leaves."""
    if type(changed) is not type(event) or changed.id != event.id:
        raise RuntimeError(f"plugin {name}: its redact returned {type(changed).__name__}, not the event {event.id}")
    return changed


def _name(plugin: object) -> str:
    """By module and class, as two programs with one ledger may both have a `Slack`; a script's is told by its file."""
    given = getattr(plugin, "__name__", None)
    if isinstance(given, str):
        return given
    kind = type(plugin)
    script = f"@{place(kind.__module__)}" if kind.__module__ == "__main__" else ""
    return f"{kind.__module__}.{kind.__qualname__}{script}"


def _fault(plugin: object, implementations: Mapping[str, pluggy.HookImpl]) -> str | None:
    """Why it cannot be used."""
    if not implementations:
        return " implements no hook; mark its methods with @batchmeter.hookimpl"
    for hook, implementation in implementations.items():
        function = implementation.function
        if hook != "price_lines" and (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
            return f": its {hook} has a `yield`: called, it would do nothing"
        if hook in _MODULE_HOOKS and not isinstance(plugin, ModuleType):
            return f": {hook} is a function of the plugin's package, not a method"
    return None
