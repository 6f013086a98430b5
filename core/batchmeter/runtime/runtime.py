"""Runtime: one ledger with the configured accounts and plugins, from its opening to its closing."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from pydantic import BaseModel

from batchmeter.config import Settings, validated
from batchmeter.errors import UsageError
from batchmeter.parts import RECORDING, Parts, Prices
from batchmeter.plugins import Plugins
from batchmeter.providers import Provider

from .call_accounts import CallAccounts
from .client_host import ClientHost
from .load_settings import load_settings
from .program_plugins import attach

if TYPE_CHECKING:
    from batchmeter.ledger.ledger import Ledger
    from batchmeter.pricing.groups import PriceSource
    from batchmeter.tracker.deliver import Deliverer
    from batchmeter.tracker.tracker import Tracker

Result = TypeVar("Result")
Section = TypeVar("Section", bound=BaseModel)

_INHERITED: list[object] = []
DRAIN_SECONDS = 5.0
"""How long closing waits for deliveries and settlements under way; what is left stays in the ledger."""
SHUTDOWN_SECONDS = 1.0
"""Time that claims have at least to be given back, and plugins to shut down, however long deliveries took."""
_STARTING: ContextVar[Parts | None] = ContextVar("batchmeter_starting", default=None)
"""Parts whose plugins start up in this context: a plugin's own calls need not wait for the end of that."""


def asyncio_loop(home: asyncio.AbstractEventLoop | None = None) -> asyncio.AbstractEventLoop:
    """The running loop. UsageError where there is none (trio), and in another than `home`, a client's own."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "batchmeter's async calls need asyncio's event loop; under trio call the blocking function in a thread: "
            "await trio.to_thread.run_sync(batchmeter.retrieve_batch, batch_id)"
        ) from None
    if home is not None and home is not loop:
        raise UsageError(
            "this AsyncClient belongs to another event loop, and each asyncio.run() makes one: open a client in each "
            "(`async with AsyncClient() as client`), or use batchmeter's functions or Client, which work in all"
        )
    return loop


class Runtime:
    """A client without its calls, which AsyncClient adds. It belongs to the event loop of its first use until it is closed."""

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        config: str | os.PathLike[str] | None = None,
        ledger: "str | os.PathLike[str] | Ledger | None" = None,
        accounts: Mapping[str, Mapping[str, Any]] | None = None,
        plugins: Iterable[object] | Mapping[str, object] = (),
        prices: "Prices | None" = None,
        track: bool | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        url = os.fspath(ledger) if isinstance(ledger, str | os.PathLike) else None
        given = {"ledger": url, "track": track}
        if settings is None:
            settings = load_settings(config, environ=environ, **given)
        else:
            settings = settings.model_copy(update={key: value for key, value in given.items() if value is not None})
        if accounts is not None:
            given_accounts = validated(Settings, {"accounts": accounts}, "arguments").accounts
            settings = settings.model_copy(update={"accounts": {**settings.accounts, **given_accounts}})
        self.settings = settings
        self.plugins = Plugins.load(settings, environ)
        named = cast("Mapping[str | None, object]", plugins) if isinstance(plugins, Mapping) else None
        for name, plugin in named.items() if named is not None else ((None, plugin) for plugin in plugins):
            self.plugins.register(plugin, name)
        attach(self.plugins)
        self.accounts = CallAccounts(settings, self.plugins)
        self.accounts.check()
        self._given_ledger = None if isinstance(ledger, str | os.PathLike) else ledger
        self._given_prices = prices
        self._reset()

    def _reset(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._starting: Parts | None = None
        self._parts: Parts | None = None
        self._running: list[asyncio.Task[None]] = []
        self._tracking: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Open the ledger (upgrading it if need be), tell the plugins, start delivering, and tracking if wanted."""
        async with self._lock():
            if self._parts is None:
                self._loop = asyncio.get_running_loop()
                self._parts = await self._started()
                for loop, name in ((self._parts.deliverer.run, "deliverer"), (self._parts.listen, "listener")):
                    self._running.append(asyncio.create_task(loop(), name=f"batchmeter {name}"))
                if self.settings.track:
                    self.start_tracking()
        return self

    def _lock(self) -> asyncio.Lock:
        """The lock of opening and closing. The running loop becomes the client's own; UsageError in another loop."""
        self._loop = loop = asyncio_loop(self._loop)
        if self._opening is None or self._opening[0] is not loop:
            self._opening = loop, asyncio.Lock()
        return self._opening[1]

    async def _started(self) -> Parts:
        """New parts, once every plugin has started. A failure, or being cancelled, closes them again."""
        parts = await Parts.build(self.settings, self.accounts, self.plugins, self._given_ledger, self._given_prices)
        self._starting, before = parts, _STARTING.set(parts)
        try:
            await self.plugins.startup(ClientHost(self.plugins, parts.ledger, parts, self.accounts), self)
            await parts.ledger.subscribe(self.plugins.subscriptions)
        except BaseException:
            await self._end(parts, 0.0)
            raise
        finally:
            self._starting = None
            _STARTING.reset(before)
        return parts

    async def aclose(self, *, timeout: float = DRAIN_SECONDS) -> None:
        """Stop, giving deliveries `timeout` seconds. Nothing is lost by stopping early: the ledger has it."""
        async with self._lock():
            parts, self._parts = self._parts, None
            try:
                if parts is None:
                    await self.accounts.aclose()
                else:
                    await self._end(parts, timeout)
            finally:
                self._loop = self._tracking = None

    async def _end(self, parts: Parts, timeout: float) -> None:
        """Deliveries, then the plugins, the accounts and the ledger; each is closed, whatever happens to those before."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout

        def left() -> float:
            return max(end - loop.time(), 0.0)

        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(parts.ledger.aclose)
            closing.push_async_callback(self.accounts.aclose)
            closing.push_async_callback(lambda: self.plugins.shutdown(timeout=max(left(), SHUTDOWN_SECONDS)))
            closing.push_async_callback(lambda: self._cancel(parts, max(left(), SHUTDOWN_SECONDS)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    await parts.tracker.idle()
            parts.deliverer.close()
            running = [*self._running, *parts.chores]
            for task in running:
                if task.get_name() not in ("batchmeter deliverer", RECORDING):  # these end by themselves, in time
                    task.cancel()
            if running:
                await asyncio.wait(running, timeout=left())
            if seconds := left():
                await parts.deliverer.drain(seconds)

    async def _cancel(self, parts: Parts, timeout: float) -> None:
        running, self._running = [*self._running, *parts.chores], []
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await parts.tracker.stop()

    async def track(self) -> None:
        """Follow every open batch in the ledger until cancelled."""
        await (await self.ready()).tracker.run()

    def start_tracking(self) -> "asyncio.Task[None]":
        """As `track`, in the background until the client is closed or the task cancelled; it must be open.

        Any number of processes may track one ledger: each batch is claimed by a lease.
        """
        if self._tracking is None or self._tracking.done():
            self._tracking = asyncio.create_task(self._open_parts().tracker.run(), name="batchmeter tracker")
            self._running.append(self._tracking)
        return self._tracking

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which this client is open, or was first used."""
        return self._loop

    def post(self, work: "Callable[[Self], Coroutine[Any, Any, Result]]") -> "Future[Result]":
        """Start `work(client)` in the client's own loop, from any thread; the client must be open."""
        self._open_parts()
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work(self), self._loop)

    def forked(self) -> None:
        """In the child of a fork: leave the parent's connections alone, and open anew when used."""
        _INHERITED.append((self._parts, self.accounts, self._running))
        self.accounts = CallAccounts(self.settings, self.plugins)
        self._reset()

    def section(self, name: str, model: type[Section]) -> Section:
        """The settings' section of this name as a plugin's model; ConfigError that names what is wrong in it."""
        values: Mapping[str, Any] = getattr(self.settings, name)
        return validated(model, values, f"{self.settings.source or 'settings'}: [{name}]")

    async def ready(self) -> Parts:
        """The open parts; opens on first use."""
        asyncio_loop(self._loop)
        if self._parts is not None:
            return self._parts
        if self._starting is not None and _STARTING.get() is self._starting:
            return self._starting
        await self.open()
        return self._open_parts()

    async def provider(
        self, account: str | None, overrides: Mapping[str, Any], *, about: str | None = None
    ) -> Provider:
        """The account a call is for: the one it names, else the one the ledger knows `about` (an id), else the default.

        Raises UnknownAccountError, ConfigError.
        """
        self._loop = asyncio_loop(self._loop)
        if account is None and about is not None:
            account = await (await self.ready()).ledger.account_of(about)
        found = self.accounts.resolve(account or self.accounts.default, overrides)
        await self.accounts.tidy()
        return found

    @property
    def is_open(self) -> bool:
        """Whether its ledger is open."""
        return self._parts is not None

    @property
    def ledger(self) -> "Ledger":
        """The open ledger; RuntimeError before `open`, as for the three below."""
        return self._open_parts().ledger

    @property
    def tracker(self) -> "Tracker":
        """The loop that follows open batches; it runs where tracking was started."""
        return self._open_parts().tracker

    @property
    def deliverer(self) -> "Deliverer":
        """The loop that hands events to loggers."""
        return self._open_parts().deliverer

    @property
    def prices(self) -> "PriceSource":
        """The price book that batches are settled with."""
        return self._open_parts().prices

    def _open_parts(self) -> Parts:
        parts = self._parts or self._starting
        if parts is None:
            raise RuntimeError("this client is not open: use `async with AsyncClient() as client` or await open()")
        return parts

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
