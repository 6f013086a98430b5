"""The PluginHost of an open client: each method runs in the client's own loop, whichever loop asks."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from batchmeter.errors import BatchmeterError, UsageError
from batchmeter.host import CostQuery, CostRow, Estimate, SubmissionState, Total, Tries
from batchmeter.ledger.settlements import cursor_of
from batchmeter.parts import Catalogued, price_book, sums_of
from batchmeter.providers import CallOptions
from batchmeter.redaction import Redacted, Redaction

from .plugin_store import Store, open_store
from .resubmit import resubmit, tries_of

if TYPE_CHECKING:
    from batchmeter.accounts import Accounts
    from batchmeter.events import AnyEvent, PluginEvent, Settlement
    from batchmeter.ledger.ledger import Ledger
    from batchmeter.ledger.records import Answer, LoggerGauge, StoredEvent
    from batchmeter.parts import Parts
    from batchmeter.plugins import Plugins
    from batchmeter.providers import Provider

Result = TypeVar("Result")


class ClientHost:
    """The host that the plugins of one client get at startup; without its parts and accounts, over a ledger alone."""

    def __init__(
        self, plugins: "Plugins", ledger: "Ledger", parts: "Parts | None" = None, accounts: "Accounts | None" = None
    ) -> None:
        self._plugins = plugins
        self._ledger = ledger
        self._parts = parts
        self._accounts = accounts
        self._redaction = Redaction(ledger, plugins)
        self._sums = parts.sums if parts else sums_of(ledger)
        self._prices: object = parts.prices if parts else None
        self._loop = asyncio.get_running_loop()

    @property
    def ledger_url(self) -> str:
        return self._ledger.url

    def now(self) -> int:
        return self._ledger.now()

    async def events(
        self, after: int = 0, *, kinds: Sequence[Any] | None = None, since: int | None = None, limit: int = 1000
    ) -> "list[StoredEvent]":
        return await self.run(lambda: self._ledger.events(types=kinds, after=after, since=since, limit=limit))

    async def settlements(
        self, *, since: int | None = None, after: str | None = None, limit: int = 1000
    ) -> "list[Settlement]":
        page = await self.run(lambda: self._ledger.settlements(since=since, after=after, limit=limit))
        return [settlement for settlement, _ in page]

    def cursor(self, settlement: "Settlement") -> str:
        return cursor_of(settlement)

    async def totals(self) -> list[Total] | None:
        return await self.run(self._sums.totals)

    async def spend(
        self,
        group_by: Sequence[str] = (),
        *,
        since: int | None = None,
        until: int | None = None,
        where: Mapping[str, str | Sequence[str] | None] | None = None,
    ) -> list[CostRow]:
        (rows,) = await self.spend_all(CostQuery(group_by, since, until, where or {}))
        return rows

    async def spend_all(self, *queries: CostQuery) -> list[list[CostRow]]:
        return await self.run(lambda: self._sums.rows(*queries))

    async def submissions(self, ids: Sequence[str]) -> "Mapping[str, SubmissionState]":
        return await self.run(lambda: self._ledger.intent_states(list(ids)))

    async def submission_of(self, account: str, batch_id: str) -> str | None:
        return await self.run(lambda: self._ledger.intent_of_batch(account, batch_id))

    def provider(self, account: str) -> "Provider":
        if self._accounts is None:
            raise BatchmeterError("no account is at hand here")
        return self._accounts.get(account)

    async def tries(self, account: str, batch_id: str) -> Tries | None:
        return tries_of(await self.run(lambda: self._ledger.get_batch(batch_id, account)))

    async def resubmit(self, account: str, batch_id: str) -> str:
        async def work() -> str:
            failed, provider = await self._ledger.get_batch(batch_id, account), self.provider(account)
            if failed is None or tries_of(failed) is None:
                raise UsageError(f"batch {batch_id} of account {account}: nothing was kept to submit it again with")
            assert self._parts is not None
            assert self._accounts is not None
            return (await resubmit(self._parts, provider, failed, tag=self._accounts.tags(account))).id

        return await self.run(work)

    async def estimate(self, account: str, input_file_id: str) -> "Estimate | None":
        parts = self._parts
        if parts is None:
            return None
        return await self.run(lambda: parts.guards.estimate(self.provider(account), account, input_file_id))

    @cached_property
    def _catalogue(self) -> Catalogued:
        """Names are the catalogue's own business, also where the user has a price source of their own."""
        return self._prices if isinstance(self._prices, Catalogued) else price_book()

    def base_model(self, provider: str, model: str) -> str:
        return self._catalogue.base_model(provider, model)

    @property
    def prices_as_of(self) -> date | None:
        return self._prices.as_of() if isinstance(self._prices, Catalogued) else None

    async def backlogs(self) -> "list[LoggerGauge]":
        return await self.run(self._ledger.gauges)

    async def once(self, scope: str, name: str) -> bool:
        return await self.run(lambda: self._ledger.once(scope, name))

    async def not_once(self, scope: str, name: str) -> None:
        await self.run(lambda: self._ledger.not_once(scope, name))

    async def reserve(self, scope: str, name: str, *, lease_seconds: float) -> "Answer":
        return await self.run(lambda: self._ledger.reserve_answer(scope, name, lease_seconds=lease_seconds))

    async def keep(self, scope: str, name: str, document: str) -> None:
        await self.run(lambda: self._ledger.keep_answer(scope, name, document))

    async def drop(self, scope: str, name: str) -> None:
        await self.run(lambda: self._ledger.drop_answer(scope, name))

    @asynccontextmanager
    async def stream_file(self, account: str, file_id: str) -> AsyncGenerator[AsyncIterator[bytes]]:
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError("stream_file works in the client's own event loop only: use file_content in another")
        async with self.provider(account).file_content(file_id, CallOptions()) as content:
            yield content.chunks

    async def file_content(self, account: str, file_id: str, *, max_bytes: int = 16 << 20) -> bytes:
        async def read() -> bytes:
            found = bytearray()
            async with self.stream_file(account, file_id) as chunks:
                async for chunk in chunks:
                    found += chunk
                    if len(found) >= max_bytes:
                        break
            return bytes(found[:max_bytes])

        return await self.run(read)

    async def store(self, name: str, migrations: Sequence[str], statements: str) -> Store:
        return await self.run(lambda: open_store(self._ledger.database, name, migrations, statements))

    async def record(self, event: "PluginEvent") -> bool:
        async def write() -> bool:
            await self._ledger.subscribe(self._plugins.subscriptions)
            new = await self._ledger.record_event(event)
            if self._parts is not None:
                self._parts.deliverer.notify()
            return new

        return await self.run(write)

    async def redact(self, event: "AnyEvent") -> "AnyEvent":
        return await self.run(lambda: self._redaction.redact(event))

    async def redact_all(self, events: "Sequence[Redacted]") -> "list[Redacted]":
        return await self.run(lambda: self._redaction.redact_all(events))

    def call_hook(self, name: str, /, **arguments: Any) -> list[tuple[str, Any]]:
        return self._plugins.call_hook(name, **arguments)

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        if asyncio.get_running_loop() is self._loop:
            return await work()

        async def there() -> Result:
            return await work()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self._loop))
