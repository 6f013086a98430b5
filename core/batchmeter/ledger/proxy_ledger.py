"""The part of the ledger that only the proxy uses, over either engine."""

from . import keys
from .port import Answer, LimitName, Place, ProxyKey, TrackedBatch
from .session import Database


class SqlProxyLedger:
    """Keys, their limits, and answers kept for repeated requests."""

    database: Database

    async def add_key(self, key: ProxyKey, *, secret_sha256: str) -> ProxyKey:
        return await self.database.write(lambda session: keys.add_key(session, key, secret_sha256), durable=True)

    async def find_key(self, secret_sha256: str) -> ProxyKey | None:
        return await self.database.read(lambda session: keys.find_key(session, secret_sha256))

    async def keys(self) -> list[ProxyKey]:
        return await self.database.read(keys.list_keys)

    async def has_keys(self) -> bool:
        return await self.database.read(keys.has_keys)

    async def revoke_key(self, key_id: str) -> bool:
        return await self.database.write(lambda session: keys.revoke_key(session, key_id), durable=True)

    async def use_key(
        self, key_id: str, what: LimitName, *, period: int, amount: int, most: int, once: str | None = None
    ) -> bool:
        return await self.database.write(
            lambda session: keys.use_key(session, key_id, what, period, amount, most, once)
        )

    async def return_key(
        self, key_id: str, what: LimitName, *, period: int, amount: int, once: str | None = None
    ) -> None:
        await self.database.write(lambda session: keys.return_key(session, key_id, what, period, amount, once))

    async def take_place(self, key_id: str, place: str, *, most: int, lease_seconds: float) -> Place:
        return await self.database.write(lambda session: keys.take_place(session, key_id, place, most, lease_seconds))

    async def open_batches(self, key_id: str) -> int:
        return await self.database.read(lambda session: keys.open_batches(session, key_id))

    async def batches_of_key(
        self, key_id: str, account: str, *, after: str | None = None, limit: int
    ) -> list[TrackedBatch] | None:
        return await self.database.read(lambda session: keys.batches_of_key(session, key_id, account, after, limit))

    async def files_of_key(
        self, key_id: str, account: str, *, after: str | None = None, oldest_first: bool = False, limit: int
    ) -> list[str] | None:
        return await self.database.read(
            lambda session: keys.files_of_key(session, key_id, account, after, oldest_first, limit)
        )

    async def reserve_answer(self, scope: str, name: str, *, lease_seconds: float) -> Answer:
        return await self.database.write(lambda session: keys.reserve_answer(session, scope, name, lease_seconds))

    async def renew_answer(self, scope: str, name: str, *, lease_seconds: float) -> None:
        await self.database.write(lambda session: keys.renew_answer(session, scope, name, lease_seconds))

    async def keep_answer(self, scope: str, name: str, document: str) -> None:
        await self.database.write(lambda session: keys.keep_answer(session, scope, name, document), durable=True)

    async def drop_answer(self, scope: str, name: str) -> None:
        await self.database.write(lambda session: keys.drop_answer(session, scope, name))
