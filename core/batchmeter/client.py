"""AsyncClient: files and batches at any account, each call seen by the ledger, events delivered while it is open."""

import asyncio
import contextlib
import datetime as dt
import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from pydantic import BaseModel

from .accounts import Accounts
from .arguments import settings_of
from .batches import AsyncBatches
from .client_host import ClientHost
from .config import Settings, load_settings, validated
from .files import AsyncFiles
from .plugins import Plugins
from .providers import Provider
from .runtime import Parts, Prices, asyncio_loop

if TYPE_CHECKING:
    from batchmeter import CostReport, GroupBy

    from .host import Estimate
    from .ledger.ledger import Ledger
    from .pricing.groups import PriceSource
    from .tracker.deliver import Deliverer
    from .tracker.tracker import Tracker

log = logging.getLogger("batchmeter")

Result = TypeVar("Result")
Section = TypeVar("Section", bound=BaseModel)

_INHERITED: list[object] = []
DRAIN_SECONDS = 5.0
"""How long closing waits for deliveries and settlements under way; what is left stays in the ledger."""
SHUTDOWN_SECONDS = 1.0
"""Time that plugins have at least to shut down, however long deliveries took."""


class AsyncClient:
    """One ledger, the configured accounts and the enabled loggers.

    `settings` is used as it is; else the environment and `config` (or batchmeter.toml) are read, with the other
    arguments on top. `plugins` are extra objects with hookimpls; the ledger knows them by their class and its module, or by
    the names of a mapping. Opens on first use; close it, or use `async with`.
    """

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
        for name, plugin in _named(plugins):
            self.plugins.register(plugin, name)
        self.plugins.attach_callbacks()
        self.accounts = Accounts(settings, self.plugins)
        self.accounts.check()
        self._given_ledger = None if isinstance(ledger, str | os.PathLike) else ledger
        self._given_prices = prices
        self._opening = asyncio.Lock()
        self._running: list[asyncio.Task[None]] = []
        self._tracking: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._parts: Parts | None = None
        self.files = AsyncFiles(self)
        self.batches = AsyncBatches(self)

    async def open(self) -> Self:
        """Open the ledger (upgrading it if need be), tell the plugins, start delivering, and tracking if wanted."""
        self._loop = asyncio_loop(self._loop)
        async with self._opening:
            if self._parts is None:
                self._parts = await Parts.build(
                    self.settings, self.accounts, self.plugins, self._given_ledger, self._given_prices
                )
                parts = self._parts
                await self.plugins.startup(
                    ClientHost(
                        self.plugins,
                        parts.ledger,
                        self.files,
                        parts.deliverer.notify,
                        parts.spend,
                        parts.prices,
                        self,
                        self._estimate,
                    ),
                    self,
                )
                await self._parts.ledger.subscribe(self.plugins.subscriptions)
                self._start(self._parts)
        return self

    async def _estimate(self, account: str, file_id: str) -> "Estimate | None":
        return await self._open_parts().guards.estimate(self.accounts.get(account), account, file_id)

    async def aclose(self, *, timeout: float = DRAIN_SECONDS) -> None:
        """Stop, giving deliveries `timeout` seconds. Nothing is lost by stopping early: the ledger has it."""
        asyncio_loop(self._loop)
        parts, self._parts = self._parts, None
        self._loop = self._tracking = None
        if parts is None:
            await self.accounts.aclose()
            return
        end = asyncio.get_running_loop().time() + timeout
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await parts.tracker.idle()
        parts.deliverer.close()
        running, self._running = [*self._running, *parts.chores], []
        await _end(running, grace={"batchmeter deliverer": _left(end)})
        if left := _left(end):
            await parts.deliverer.drain(left)
        await self.plugins.shutdown(timeout=max(_left(end), SHUTDOWN_SECONDS))
        await self.accounts.aclose()
        await parts.ledger.aclose()

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

    async def costs(
        self,
        *,
        group_by: "GroupBy | str | Sequence[str]" = "model",
        since: dt.date | str | None = None,
        until: dt.date | str | None = None,
        where: Mapping[str, str | None] | None = None,
    ) -> "CostReport":
        """The cost of batches settled in this time, by one or two of `model`, `account`, `provider`, `key`, `team`, `user`,
        `tag`, `job`, `status`, `metadata.KEY` (of a key that `[reports] metadata_keys` names), and `day`, `week` or `month`.

        `where={"team": "search"}` counts only what has that name, None what has none. Times are dates, datetimes or ISO 8601 texts, UTC unless they say otherwise; `until` a date means all of it.
        """
        spend = (await self.ready()).spend
        start = spend.moment(None if since is None else str(since))
        end = spend.moment(None if until is None else str(until), end=True)
        return await spend.report(group_by=group_by, since=start, until=end, where=where)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which this client is open, or was first used."""
        return self._loop

    def post(self, work: "Callable[[AsyncClient], Coroutine[Any, Any, Result]]") -> "Future[Result]":
        """Start `work(client)` in the client's own loop, from any thread; the client must be open."""
        self._open_parts()
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work(self), self._loop)

    def forked(self) -> None:
        """In the child of a fork: leave the parent's connections alone, and open anew when used."""
        _INHERITED.append((self._parts, self.accounts, self._running))
        self.accounts = Accounts(self.settings, self.plugins)
        self._opening = asyncio.Lock()
        self._running = []
        self._parts = self._loop = self._tracking = None

    def section(self, name: str, model: type[Section]) -> Section:
        """The settings' section of this name as a plugin's model; ConfigError that names what is wrong in it."""
        values: Mapping[str, Any] = getattr(self.settings, name)
        return validated(model, values, f"{self.settings.source or 'settings'}: [{name}]")

    async def ready(self) -> Parts:
        """The open parts; opens on first use."""
        asyncio_loop(self._loop)
        if self._parts is None:
            await self.open()
        assert self._parts is not None
        return self._parts

    async def provider(
        self, account: str | None, overrides: Mapping[str, Any], *, about: str | None = None
    ) -> Provider:
        """The account a call is for: the one it names, else the one the ledger knows `about` (an id), else the default.

        Raises UnknownAccountError, ConfigError.
        """
        self._loop = asyncio_loop(self._loop)
        if account is None and about is not None:
            account = await (await self.ready()).ledger.account_of(about)
        found = self.accounts.resolve(account or self.accounts.default, settings_of(overrides))
        await self.accounts.tidy()
        return found

    async def provider_for(
        self,
        account: str | None,
        overrides: Mapping[str, Any],
        *,
        about: str | None = None,
        model: str | None = None,
    ) -> tuple[Provider, str | None]:
        """As `provider`, where a model may name the account too (`openai/gpt-5-mini`); and the model's own name."""
        if account is None and about is not None:
            account = await (await self.ready()).ledger.account_of(about)
        if account is None and model is not None:
            account, model = self.accounts.routed(model)
        return await self.provider(account, overrides), model

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
        if self._parts is None:
            raise RuntimeError("this client is not open: use `async with AsyncClient() as client` or await open()")
        return self._parts

    def _start(self, parts: Parts) -> None:
        self._running.append(asyncio.create_task(parts.deliverer.run(), name="batchmeter deliverer"))
        self._running.append(asyncio.create_task(parts.listen(), name="batchmeter listener"))
        if self.settings.track:
            self.start_tracking()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _named(plugins: Iterable[object] | Mapping[str, object]) -> Iterable[tuple[str | None, object]]:
    if isinstance(plugins, Mapping):
        return cast("Mapping[str, object]", plugins).items()
    return [(None, plugin) for plugin in plugins]


def _left(end: float) -> float:
    return max(end - asyncio.get_running_loop().time(), 0.0)


async def _end(tasks: list[asyncio.Task[None]], grace: Mapping[str, float]) -> None:
    """Cancel; those with a grace (seconds) may end by themselves first."""
    for task in tasks:
        if task.get_name() not in grace:
            task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=max(grace.values()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
