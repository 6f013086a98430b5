"""The plugins of one client, registered and called with types, over pluggy. Nothing else calls a hook."""

import asyncio
import inspect
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from . import hookspecs
from .config import Settings
from .discovery import contained, place
from .errors import BatchmeterError, ConfigError, SubmissionRefusedError
from .events import Subscription, event_kinds
from .hook_calls import Logger, PluginManager, PluginThread, call, chosen, exceptions_only, loggers_of, within
from .host import UploadInfo
from .plugin_loader import Loader, PluginInfo, Providers, reason
from .provider_guard import guarded

if TYPE_CHECKING:
    from .events import Event
    from .host import Estimate, EstimateQuery, PlannedBatch, PluginHost, UploadReader
    from .ledger.session import Engine
    from .pricing.groups import PriceQuery, PriceSource, Rates
    from .providers import Provider, ProviderFactory

log = logging.getLogger("batchmeter")

STARTUP_SECONDS = 30.0
GUARD_SECONDS = 10.0
_MODULE_HOOKS = ("register_commands", "register_events")
"""Hooks that are called before settings are read."""


class Plugins:
    """The plugins of one client."""

    def __init__(self, settings: Settings | None = None, environ: Mapping[str, str] | None = None) -> None:
        self.settings = settings or Settings()
        self.environ = os.environ if environ is None else environ
        self.infos: dict[str, PluginInfo] = {}
        self.refused: list[PluginInfo] = []
        self.suspects: dict[str, str] = {}
        """Installed plugins that would redact, as far as can be told, and do not work here -> why."""
        self.configured: set[str] = set()
        """Plugins that the user has asked for, by a section, a variable or their name."""
        self.loggers: Mapping[str, Logger] = {}
        """The enabled ones, by name. Replaced, never changed: other threads may be reading it."""
        self.providers = Providers()
        self.ledgers: dict[str, Engine] = {}
        """URL scheme -> the engine that opens such ledgers."""
        self._manager = PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._specs: list[ModuleType] = [hookspecs]
        self._companions: dict[str, hookspecs.Companion] = {}
        self._subscriptions: tuple[Subscription, ...] | None = None
        self._threads: dict[str, PluginThread] = {}
        self._apart = False
        """The program's own plugins run apart, too."""
        self._host: PluginHost | None = None

    @classmethod
    def load(cls, settings: Settings, environ: Mapping[str, str] | None = None) -> "Plugins":
        """Every installed plugin that is wanted; a broken one is recorded, never fatal.

        ConfigError only for what the user wrote: a section or name that fits no plugin, or a setting it refuses.
        """
        plugins = cls(settings, environ)
        Loader(plugins, settings, plugins.environ).load()
        return plugins

    @property
    def callbacks(self) -> tuple[str, ...]:
        """Of the loggers those that belong to this program alone."""
        return tuple(name for name, logger in self.loggers.items() if logger.scoped)

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
            logger = self.loggers.get(name)
            if info.state == "on":
                kinds = {*(logger.handles if logger else ()), *(hook for hook in info.hooks if hook == "redact")}
                yield Subscription(name, frozenset(kinds), scoped=bool(logger and logger.scoped))
                for own in (f"{name}.{hook}" for hook in info.hooks if hook in self._companions):
                    beside = self.loggers.get(own)
                    yield Subscription(own, beside.handles, beside.scoped) if beside else Subscription(own)
            elif info.state == "failed" and (info.hooks or name in self.configured):
                heard = info.hooks or ((*event_kinds(), "redact") if name in self.suspects else ())
                kinds = {hook for hook in heard if hook == "redact" or hook in event_kinds()}
                if kinds or not info.hooks:  # one that was known to handle none is owed none
                    yield Subscription(name, frozenset(kinds), problem=info.reason)
            elif name in self.suspects:  # so that no process without it sends what it would have redacted
                yield Subscription(name, frozenset({"redact"}), problem=f"it {self.suspects[name]}")

    def get(self, name: str) -> object | None:
        """The plugin itself; None where it is not on."""
        found: object | None = self._manager.get_plugin(name)
        return found

    def info(self) -> list[PluginInfo]:
        self.providers.load_all()
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
        name = name or _name(plugin)
        if inspect.isclass(plugin):
            raise ConfigError(f"plugin {name!r} is a class; give one of its objects: {plugin.__name__}(…)")
        known = name if self._manager.has_plugin(name) else self._manager.get_name(plugin)
        if known is not None:
            raise ConfigError(f"plugin {name!r} is already registered{'' if known == name else f', as {known!r}'}")
        try:
            implementations = self._implement(plugin, name, distribution)
        except BaseException as error:
            if self._manager.has_plugin(name):  # else its hooks were called all the same
                self._manager.unregister(name=name)
            if isinstance(error, ValueError | pluggy.PluginValidationError):
                raise ConfigError(f"plugin {name!r}: {error}") from error
            raise
        self.infos[name] = PluginInfo(name, version, tuple(sorted(implementations)), "on", distribution=distribution)
        self._give_thread(name, implementations, distribution)
        scoped = scoped or getattr(plugin, "scoped", False) is True
        every = Logger(name, version, implementations, scoped, self._host, self._threads.get(name))
        self.loggers = {**self.loggers, **loggers_of(every, plugin, self._companions, self._manager.hook)}
        self._subscriptions = None
        return name

    def _implement(self, plugin: object, name: str, distribution: str) -> dict[str, pluggy.HookImpl]:
        """Register the plugin's hooks with pluggy, and the providers and engines that it brings."""
        self.add_hookspecs(getattr(plugin, "hookspecs", None))
        self._manager.register(plugin, name)
        self._manager.check_pending()
        implementations = self._implementations(plugin)
        _check(plugin, name, implementations)
        for hook, add in (("register_providers", self._add_provider), ("register_ledgers", self._add_ledger)):
            if hook in implementations:
                register = partial(implementations[hook].function, partial(add, name))
                strange = distribution not in ("", hookspecs.PROJECT)
                contained(register) if strange else register()
        return implementations

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
        threads = {key: self._threads.get(logger.plugin or key) for key, logger in self.loggers.items()}
        self.loggers = {key: replace(logger, thread=threads[key]) for key, logger in self.loggers.items()}

    def unregister(self, name: str) -> None:
        """Forget a plugin; its undelivered events stay in the ledger for its return."""
        self._manager.unregister(name=name)
        self._subscriptions = None
        self.loggers = {key: one for key, one in self.loggers.items() if name not in (key, one.plugin)}
        self.infos.pop(name, None)

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
        if not self.providers.add(guarded(factory)):
            raise ConfigError(f"plugin {plugin!r}: provider {factory.name!r} is registered already")

    def _add_ledger(self, plugin: str, scheme: str, engine: "Engine") -> None:
        if self.ledgers.setdefault(scheme, engine) is not engine:
            raise ConfigError(f"plugin {plugin!r}: {scheme}:// ledgers are opened by another plugin already")

    def _of(self, hook: str) -> list[pluggy.HookImpl]:
        """The implementations in the order of calling: the last registered first. None of a hook that no plugin brought."""
        caller: pluggy.HookCaller | None = getattr(self._manager.hook, hook, None)
        return [] if caller is None else caller.get_hookimpls()

    def collect(self, hook: str) -> list[Any]:
        """All that implementations of `hook(register)` register; one that fails registers nothing, with a warning."""
        found: list[Any] = []
        for implementation in self._of(hook):
            registered: list[Any] = []
            try:
                with exceptions_only():
                    implementation.function(registered.append)
                found += registered
            except Exception as error:  # noqa: BLE001 - whatever a plugin does, the others go on
                log.warning("plugin %s: %s failed: %s", implementation.plugin_name, hook, reason(error))
        return found

    def call_hook(self, name: str, /, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook that a plugin brought; (plugin's name, result) of each implementation that did not fail."""
        results: list[tuple[str, Any]] = []
        for implementation in self._of(name):
            try:
                with exceptions_only():
                    result = implementation.function(**chosen(implementation, arguments))
                results.append((implementation.plugin_name, result))
            except Exception:
                log.exception("plugin %s: its %s failed", implementation.plugin_name, name)
        return results

    async def _in_time(self, one: pluggy.HookImpl, given: Mapping[str, object], timeout: float = GUARD_SECONDS) -> Any:
        return await within(call(one, given, thread=self._threads.get(one.plugin_name)), timeout)

    async def _answer(self, implementation: pluggy.HookImpl, given: Mapping[str, object], *timeout: float) -> Any:
        """None where it fails, which is logged."""
        try:
            return await self._in_time(implementation, given, *timeout)
        except Exception:
            log.exception("plugin %s: its %s failed", implementation.plugin_name, implementation.function.__name__)
            return None

    async def startup(self, host: "PluginHost", client: object = None) -> None:
        """Tell every plugin; one that fails is disabled and shown as failed. `client` is for plugins that still take it."""
        self._host, given = host, {"host": host, "client": client}
        self.loggers = {name: replace(logger, host=host) for name, logger in self.loggers.items()}
        for implementation in self._of("startup"):
            name = implementation.plugin_name
            if "client" in implementation.argnames:
                log.warning("plugin %s: startup(client) goes away with the next release: take `host` instead", name)
            try:
                await self._in_time(implementation, given, STARTUP_SECONDS)
            except Exception as error:
                log.exception("plugin %s failed at startup and is disabled", name)
                info = self.infos[name]
                self.unregister(name)
                self.infos[name] = replace(info, state="failed", reason=reason(error))
                if "redact" in info.hooks:
                    self.suspects[name] = f"failed at startup: {reason(error)}"
                self._subscriptions = None

    async def shutdown(self, *, timeout: float = STARTUP_SECONDS) -> None:
        """Tell every plugin; `timeout` (seconds) is for all of them."""
        async with asyncio.TaskGroup() as group:
            for implementation in self._of("shutdown"):
                group.create_task(self._answer(implementation, {}, timeout))
        for thread in self._threads.values():
            thread.close()

    async def redact(self, event: "Event") -> "Event":
        """The event as loggers may see it; raises what an implementation raises."""
        for implementation in self._of("redact"):
            name = implementation.plugin_name
            changed = await call(implementation, {"event": event}, thread=self._threads.get(name))
            if changed is None:
                continue
            if type(changed) is not type(event) or changed.id != event.id:  # only a redactor's own work leaves
                raise RuntimeError(
                    f"plugin {name}: its redact returned {type(changed).__name__}, not the event {event.id}"
                )
            event = changed
        return event

    @property
    def prices_lines(self) -> bool:
        """Whether any plugin is a price source."""
        return bool(self._of("price_lines"))

    def price_lines(self, query: "PriceQuery") -> "Rates | None":
        """The first plugin's rates, if any has an opinion."""
        with exceptions_only():
            rates: Rates | None = self._manager.hook.price_lines(query=query)
        return rates

    def read_upload(
        self, provider: "Provider", purpose: str | None, filename: str, prices: "PriceSource"
    ) -> "list[tuple[str, UploadReader]]":
        """Plugins' names and their readers of an upload that begins, a stranger's before ours."""
        upload = UploadInfo(provider.account, provider.name, purpose, filename, prices, self.guarded)
        found = reversed(self.call_hook("read_upload", upload=upload))
        return [(name, reader) for name, reader in found if reader is not None]

    async def estimate_batch(self, query: "EstimateQuery") -> "Estimate | None":
        for implementation in reversed(self._of("estimate_batch")):
            found: Estimate | None = await self._answer(implementation, {"query": query})
            if found is not None:
                return found
        return None

    @property
    def guarded(self) -> bool:
        """Whether any plugin is asked before a batch is submitted."""
        return bool(self._of("before_submit"))

    async def before_submit(self, submission: "PlannedBatch", estimate: "Estimate | None") -> None:
        """Ask every plugin; SubmissionRefusedError, or the plugin's own BatchmeterError, where one refuses."""
        given: dict[str, object] = {"submission": submission, "estimate": estimate}
        for implementation in self._of("before_submit"):
            try:
                await self._in_time(implementation, given)
            except BatchmeterError:
                raise
            except Exception as error:
                raise SubmissionRefusedError(f"plugin {implementation.plugin_name}: {reason(error)}") from error

    async def submit_dropped(self, submission: "PlannedBatch", reason: str) -> None:
        """Tell every plugin; one that fails is logged."""
        for implementation in self._of("submit_dropped"):
            await self._answer(implementation, {"submission": submission, "reason": reason})


def _name(plugin: object) -> str:
    """By module and class, as two programs with one ledger may both have a `Slack`; a script's is told by its file."""
    given = getattr(plugin, "__name__", None)
    if isinstance(given, str):
        return given
    kind = type(plugin)
    script = f"@{place(kind.__module__)}" if kind.__module__ == "__main__" else ""
    return f"{kind.__module__}.{kind.__qualname__}{script}"


def _check(plugin: object, name: str, implementations: Mapping[str, pluggy.HookImpl]) -> None:
    if not implementations:
        raise ConfigError(f"plugin {name!r} implements no hook; mark its methods with @batchmeter.hookimpl")
    for hook, implementation in implementations.items():
        function = implementation.function
        if hook != "price_lines" and (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
            raise ConfigError(f"plugin {name!r}: its {hook} has a `yield`: called, it would do nothing")
        if hook in _MODULE_HOOKS and not isinstance(plugin, ModuleType):
            raise ConfigError(f"plugin {name!r}: {hook} is a function of the plugin's package, not a method")
