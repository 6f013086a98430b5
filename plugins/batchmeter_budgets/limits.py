"""Limits of enqueued tokens that stand with keys and accounts: budgets of tokens, made when a batch first meets them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from .book import FRESH, Book, Budget
from .settings import BudgetSettings

if TYPE_CHECKING:
    from batchmeter.host import PlannedBatch

_MOST_KEYS = 10_000


class Limits:
    """State of one process."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._limit_of: Callable[[str], Awaitable[int | None]] | None = None
        self._keys: dict[str, tuple[int, int | None]] = {}
        """Key -> when it was read, and its limit."""

    async def of(self, planned: "PlannedBatch") -> list[Budget]:
        """Limits that hold for this batch, as budgets."""
        wanted = {
            f"account/{planned.account}/{pattern}": BudgetSettings(
                limit_tokens=most, scope={"account": planned.account, "model": pattern}, full="wait", on_unknown="allow", alerts=()
            )
            for pattern, most in planned.enqueued_tokens.items()
        }  # fmt: skip
        key = planned.attribution.key
        most = None if key is None else await self._of_key(key)
        if key is not None and most is not None:
            wanted[f"key/{key}"] = BudgetSettings(limit_tokens=most, scope={"key": key}, alerts=())
        return await self._made(wanted) if wanted else []

    async def _made(self, wanted: Mapping[str, BudgetSettings]) -> list[Budget]:
        known = {one.name: one for one in await self._book.limits()}
        for name, settings in wanted.items():
            if name not in known or known[name].settings != settings:
                await self._book.put(name, settings, source="limit", known=known.get(name), who="configuration")
                await self._book.reload()
        known = {one.name: one for one in await self._book.limits()}
        return [known[name] for name in wanted if name in known]

    async def _of_key(self, key: str) -> int | None:
        now = self._book.host.now()
        known = self._keys.get(key)
        if known is not None and 0 <= now - known[0] < FRESH:
            return known[1]
        if self._limit_of is None:
            self._limit_of = await _reader(self._book)
        most = await self._limit_of(key)
        if len(self._keys) >= _MOST_KEYS:
            self._keys.clear()
        self._keys[key] = now, most
        return most


async def _reader(book: Book) -> Callable[[str], Awaitable[int | None]]:
    try:
        from batchmeter_proxy.keyring import key_limits  # noqa: PLC0415 - only where keys are used
    except ImportError:  # the server is not installed here, so its keys have no limits that anybody could know

        async def none(key: str) -> int | None:
            del key
            return None

        return none
    limits = await key_limits(book.host)

    async def of(key: str) -> int | None:
        return (await limits(key)).enqueued_tokens

    return of
