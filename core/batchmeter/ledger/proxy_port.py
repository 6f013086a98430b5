"""The part of the ledger that only the proxy uses: its keys with their limits, and answers to repeated requests."""

from typing import Protocol

from .key_records import Answer, LimitName, Place, ProxyKey
from .records import TrackedBatch


class ProxyLedger(Protocol):
    """See `Ledger` for what all its methods have in common."""

    async def add_key(self, key: ProxyKey, *, secret_sha256: str) -> ProxyKey:
        """Created now, by the ledger's clock."""
        ...

    async def find_key(self, secret_sha256: str) -> ProxyKey | None:
        """Also an expired or revoked one."""
        ...

    async def keys(self) -> list[ProxyKey]: ...

    async def has_keys(self) -> bool:
        """Whether there was ever one: revoking the last opens nothing."""
        ...

    async def revoke_key(self, key_id: str) -> bool:
        """False when there is no such key or it was revoked before."""
        ...

    async def use_key(
        self, key_id: str, what: LimitName, *, period: int, amount: int, most: int, once: str | None = None
    ) -> bool:
        """Count `amount` towards this period's limit, exactly, whoever else counts; False when it would exceed it.

        What has the same `once` counts once in a period.
        """
        ...

    async def return_key(
        self, key_id: str, what: LimitName, *, period: int, amount: int, once: str | None = None
    ) -> None:
        """Nothing came of what was counted."""
        ...

    async def take_place(self, key_id: str, place: str, *, most: int, lease_seconds: float) -> Place:
        """Take one of the `most` places of a key's open batches, for one that is about to be submitted.

        It is an answer under way in the scope `place <key>`: renew and drop it as such, once the batch is recorded.
        """
        ...

    async def open_batches(self, key_id: str) -> int:
        """How many unsettled batches it has."""
        ...

    async def batches_of_key(
        self, key_id: str, account: str, *, after: str | None = None, limit: int
    ) -> list[TrackedBatch] | None:
        """What it submitted, newest first; None: it has no batch `after`."""
        ...

    async def files_of_key(
        self, key_id: str, account: str, *, after: str | None = None, oldest_first: bool = False, limit: int
    ) -> list[str] | None:
        """Ids of what it uploaded and what its batches put out, as they became known; None: it has no file `after`."""
        ...

    # answers to give again

    async def reserve_answer(self, scope: str, name: str, *, lease_seconds: float) -> Answer:
        """The first one's answer; or, for nobody else in this time, the right to give it."""
        ...

    async def renew_answer(self, scope: str, name: str, *, lease_seconds: float) -> None:
        """It still is being made."""
        ...

    async def keep_answer(self, scope: str, name: str, document: str) -> None: ...

    async def drop_answer(self, scope: str, name: str) -> None:
        """Nothing came of it: the next one may try."""
        ...
