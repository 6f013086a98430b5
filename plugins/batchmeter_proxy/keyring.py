"""The keyring: the proxy's keys and what they have used of their limits, in tables of the plugin's own."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from weakref import WeakKeyDictionary

from batchmeter import AsyncClient
from batchmeter.access import Access, Millis, access_of
from batchmeter.host import PluginHost, TableRow, Tables, TableSession
from batchmeter.models import Attribution, Frozen

log = logging.getLogger("batchmeter")

LimitName = Literal["requests_per_minute", "lines_per_day"]
"""Limits that are counted by period."""
PERIOD: Mapping[str, int] = {"requests_per_minute": 60, "lines_per_day": 86_400}
"""Seconds; periods begin on the UTC clock's whole minutes and days."""
Place = Literal["mine", "wait", "full"]
"""`wait`: batches that are just being submitted have the rest; some may come to nothing."""
_COLUMNS = {"id", "created_at", "expires_at", "revoked_at"}
"""Members of a key that are no details."""
_HORIZON: Millis = 3 * 3_600_000
"""A place taken further ahead was taken under a clock that was wrong."""
_NOTED: Millis = 2 * 86_400_000
"""Notes older than this are of periods that are over."""


class KeyLimits(Frozen, frozen=True, extra="forbid"):
    """None: no limit."""

    requests_per_minute: int | None = None
    open_batches: int | None = None
    lines_per_day: int | None = None
    """Requests submitted in batches, by UTC day."""
    enqueued_tokens: int | None = None
    """Input tokens of its open batches, as estimated. Budgets hold it."""


class ProxyKey(Frozen, frozen=True):
    """A key of the proxy; its secret is nowhere but with its owner."""

    id: str
    name: str | None = None
    owner: str | None = None
    """Becomes the `user` of what it submits."""
    team: str | None = None
    tags: tuple[str, ...] = ()
    accounts: tuple[str, ...] | None = None
    """None: all."""
    models: tuple[str, ...] | None = None
    """None: all."""
    admin: bool = False
    """Sees everybody's files and batches, in the accounts it may use."""
    allow_raw: bool = False
    """May send its provider members and form fields that the proxy does not know."""
    limits: KeyLimits = KeyLimits()
    hint: str = ""
    """The secret's last characters, to tell keys apart."""
    created_at: Millis = 0
    expires_at: Millis | None = None
    revoked_at: Millis | None = None

    @property
    def attribution(self) -> Attribution:
        """The attribution on the events of its batches."""
        return Attribution(key=self.id, user=self.owner, team=self.team, tags=self.tags)

    def state(self, now: Millis) -> Literal["active", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


class Keyring:
    """Keys, their limits and their places. Times are epoch milliseconds UTC by the ledger's clock."""

    def __init__(self, access: Access, tables: Tables) -> None:
        self.access = access
        self._tables = tables

    @classmethod
    async def open(cls, access: Access) -> "Keyring":
        """The keyring of this ledger, whose tables are made or upgraded if need be."""
        migrations, statements = _sql()
        return cls(access, await access.store("proxy", migrations, statements))

    def now(self) -> Millis:
        return self.access.now()

    async def add_key(self, key: ProxyKey, *, secret_sha256: str) -> ProxyKey:
        """Created now, by the ledger's clock."""
        details = key.model_dump_json(exclude=_COLUMNS)

        async def work(session: TableSession) -> ProxyKey:
            names = {"id": key.id, "secret_sha256": secret_sha256, "expires_at": key.expires_at}
            await session.run("add_key", details=details, **names)
            return key.model_copy(update={"created_at": session.now})

        return await self._tables.write(work)

    async def find_key(self, secret_sha256: str) -> ProxyKey | None:
        """Also an expired or revoked one."""
        found = await self._tables.rows("find_key", secret_sha256=secret_sha256)
        return _key(found[0]) if found else None

    async def keys(self) -> list[ProxyKey]:
        """One that cannot be read hides no other: it is logged and left out."""
        return _readable(await self._tables.rows("list_keys"))

    async def has_keys(self) -> bool:
        """Whether there was ever one: revoking the last opens nothing."""
        return bool(await self._tables.rows("any_key"))

    async def revoke_key(self, key_id: str) -> bool:
        """False when there is no such key or it was revoked before."""
        return await self._tables.run("revoke_key", id=key_id) > 0

    async def see_key(self, key_id: str) -> None:
        """A key asks for something now."""
        await self._tables.write(lambda session: session.run("see_key", key_id=key_id), durable=False)

    async def last_seen(self) -> dict[str, Millis]:
        """By key's id; without those that never asked."""
        return {row["key_id"]: row["at"] for row in await self._tables.rows("list_seen")}

    async def used(self) -> dict[tuple[str, LimitName], int]:
        """Key's id and limit -> what is used of it in the present period."""
        now = self.now() // 1000
        rows = await self._tables.rows("list_uses")
        return {
            (row["key_id"], row["what"]): row["used"] for row in rows if row["period"] == now // PERIOD[row["what"]]
        }

    async def use_key(
        self, key_id: str, limit: LimitName, *, period: int, amount: int, most: int, once: str | None = None
    ) -> bool:
        """Count `amount` towards this period's limit, exactly, whoever else counts; False when it would exceed it.

        Uses with the same `once` count once in a period.
        """
        noted = _noted(key_id, limit, period, once)

        async def work(session: TableSession) -> bool:
            if noted and await session.row("note_counted", **noted) is None:
                return True
            names: dict[str, object] = {"key_id": key_id, "what": limit, "period": period}
            row = None if amount > most else await session.row("use_key", **names, amount=amount, most=most)
            if noted and row is None:
                await session.run("forget_counted", **noted)
            elif noted and row is not None and row["used"] == amount:  # the first of its period
                await session.run("forget_earlier", scope=noted["scope"], before=session.now - _NOTED)
            return row is not None

        return await self._tables.write(work, durable=False)

    async def return_key(
        self, key_id: str, limit: LimitName, *, period: int, amount: int, once: str | None = None
    ) -> None:
        """Nothing came of what was counted."""
        noted = _noted(key_id, limit, period, once)

        async def work(session: TableSession) -> None:
            if not noted or await session.run("forget_counted", **noted):
                await session.run("return_key", key_id=key_id, what=limit, period=period, amount=amount)

        await self._tables.write(work, durable=False)

    async def take_place(self, key_id: str, place: str, *, most: int, lease_seconds: float) -> Place:
        """Take one of a key's `most` places for open batches, for one that is about to be submitted.

        Renew it while that goes on, and leave it once the batch is recorded.
        """
        names = {"key_id": key_id, "name": place}

        async def work(session: TableSession) -> int:
            await session.row("lock_key", id=key_id)
            await session.run("forget_places", key_id=key_id)
            row = await session.row("places_taken", key_id=key_id, horizon=_HORIZON)
            places = 0 if row is None else int(row["taken"])
            if places < most:
                await session.run("take_place", **names, lease=round(lease_seconds * 1000))
            return places

        # Open batches are counted after places: a batch leaves its place only once it is recorded.
        places = await self._tables.write(work, durable=False)
        opened = await self.access.open_batches(key_id)
        if opened + places < most:
            return "mine"
        if places < most:
            await self.leave_place(key_id, place)
        return "full" if opened >= most else "wait"

    async def renew_place(self, key_id: str, place: str, *, lease_seconds: float) -> None:
        lease = round(lease_seconds * 1000)
        await self._tables.write(
            lambda session: session.run("renew_place", key_id=key_id, name=place, lease=lease), durable=False
        )

    async def leave_place(self, key_id: str, place: str) -> None:
        await self._tables.write(lambda session: session.run("leave_place", key_id=key_id, name=place), durable=False)


_OPEN: WeakKeyDictionary[AsyncClient, Keyring] = WeakKeyDictionary()


async def keyring_of(client: AsyncClient) -> Keyring:
    """The keyring in the client's ledger; opens the client on first use."""
    access = await access_of(client)
    known = _OPEN.get(client)
    if known is None or known.access != access:
        known = _OPEN[client] = await Keyring.open(access)
    return known


async def key_limits(host: PluginHost) -> Callable[[str], Awaitable[KeyLimits]]:
    """For other plugins: a key's id -> its limits."""
    migrations, statements = _sql()
    tables = await host.store("proxy", migrations, statements)

    async def of(key_id: str) -> KeyLimits:
        rows = await tables.rows("get_key", id=key_id)
        return _key(rows[0]).limits if rows else KeyLimits()

    return of


@cache
def _sql() -> tuple[tuple[str, ...], str]:
    folder = files("batchmeter_proxy") / "sql"
    changes = tuple((folder / name).read_text("utf-8") for name in ("0001_keyring.sql", "0002_seen.sql"))
    return changes, (folder / "keyring.sql").read_text("utf-8")


def _noted(key_id: str, limit: LimitName, period: int, once: str | None) -> Mapping[str, str]:
    """Where it is noted that something is counted already."""
    return {} if once is None else {"scope": f"counted {limit} {key_id}", "name": f"{period} {once}"}


def _key(row: TableRow) -> ProxyKey:
    times: dict[str, Any] = {name: row[name] for name in ("created_at", "expires_at", "revoked_at")}
    return ProxyKey(id=row["id"], **json.loads(row["details"]), **times)


def _readable(rows: Sequence[TableRow]) -> list[ProxyKey]:
    found: list[ProxyKey] = []
    for row in rows:
        try:
            found.append(_key(row))
        except (ValueError, TypeError) as error:
            log.error("key %s cannot be read: %s", row["id"], str(error).splitlines()[0])  # noqa: TRY400 - the row, not our code
    return found
