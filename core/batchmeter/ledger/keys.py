"""The proxy's keys, what they have used of their limits, what is whose, and answers to give again."""

from . import serialize
from .claims import HORIZON, millis
from .records import Answer, LimitName, Place, ProxyKey, TrackedBatch
from .session import Session

_COLUMNS = frozenset({"id", "created_at", "expires_at", "revoked_at"})
"""What is not among the details."""


async def add_key(session: Session, key: ProxyKey, *, secret_sha256: str) -> ProxyKey:
    """Created now, by the ledger's clock."""
    await session.run(
        "add_key",
        id=key.id,
        secret_sha256=secret_sha256,
        details=key.model_dump_json(exclude=set(_COLUMNS)),
        expires_at=key.expires_at,
    )
    return key.model_copy(update={"created_at": session.now})


async def find_key(session: Session, secret_sha256: str) -> ProxyKey | None:
    """Also an expired or revoked one."""
    row = await session.row("find_key", secret_sha256=secret_sha256)
    return None if row is None else serialize.proxy_key(row)


async def list_keys(session: Session) -> list[ProxyKey]:
    return await serialize.readable(session, await session.rows("list_keys"), serialize.proxy_key)


async def has_keys(session: Session) -> bool:
    """Whether there was ever one: revoking the last opens nothing."""
    return await session.row("any_key") is not None


async def revoke_key(session: Session, key_id: str) -> bool:
    """False when there is no such key or it was revoked before."""
    return await session.run("revoke_key", id=key_id) > 0


async def use_key(
    session: Session, key_id: str, what: LimitName, *, period: int, amount: int, most: int, once: str | None = None
) -> bool:
    """Count `amount` towards this period's limit, exactly, whoever else counts; False when it would exceed it.

    What has the same `once` counts once in a period.
    """
    counted = _counted(key_id, what, period, once)
    if counted and await session.row("add_answer", **counted, document=str(amount)) is None:
        return True
    row = None
    if amount <= most:
        row = await session.row("use_key", key_id=key_id, what=what, period=period, amount=amount, most=most)
    if row is None and counted:
        await session.run("forget_answer", **counted)
    return row is not None


async def return_key(
    session: Session, key_id: str, what: LimitName, *, period: int, amount: int, once: str | None = None
) -> None:
    """Nothing came of what was counted."""
    counted = _counted(key_id, what, period, once)
    if not counted or await session.run("forget_answer", **counted):
        await session.run("return_key", key_id=key_id, what=what, period=period, amount=amount)


def _counted(key_id: str, what: LimitName, period: int, once: str | None) -> dict[str, str]:
    """Where it is noted that something is counted already."""
    return {} if once is None else {"scope": f"counted {what} {key_id}", "name": f"{period} {once}"}


async def open_batches(session: Session, key_id: str) -> int:
    """How many unsettled batches it has."""
    row = await session.row("open_batches_of_key", key_id=key_id)
    return 0 if row is None else int(row["open"])


async def batches_of_key(
    session: Session, key_id: str, account: str, *, after: str | None = None, limit: int
) -> list[TrackedBatch] | None:
    """What it submitted, newest first; None: it has no batch `after`."""
    before = None
    if after is not None:
        cursor = await session.row("get_batch", batch_id=after, account=account)
        if cursor is None or cursor["key_id"] != key_id:
            return None
        before = cursor["pk"]
    found = await session.rows("batches_of_key", key_id=key_id, account=account, before=before, limit=limit)
    return await serialize.readable(session, found, serialize.tracked)


async def files_of_key(
    session: Session, key_id: str, account: str, *, after: str | None = None, oldest_first: bool = False, limit: int
) -> list[str] | None:
    """Ids of what it uploaded and what its batches put out, as they became known; None: it has no file `after`."""
    whose: dict[str, object] = {"key_id": key_id, "account": account, "file_id": after}
    cursor = None if after is None else await session.row("file_of_key", **whose)
    if after is not None and cursor is None:
        return None
    found = await session.rows(
        "files_of_key_oldest_first" if oldest_first else "files_of_key",
        **whose,
        before=None if cursor is None else cursor["recorded_at"],
        limit=limit,
    )
    return [str(row["file_id"]) for row in found]


def place_scope(key_id: str) -> str:
    """Among the answers, where a key's places are taken."""
    return f"place {key_id}"


async def take_place(session: Session, key_id: str, place: str, *, most: int, lease_seconds: float) -> Place:
    """Take one of the `most` places of a key's open batches, for one that is about to be submitted.

    It is an answer under way in the scope `place <key>`: renew and drop it as such, once the batch is recorded.
    """
    scope = place_scope(key_id)
    await session.row("lock_key", id=key_id)
    row = await session.row(
        "count_busy", scope=scope, horizon=HORIZON
    )  # first: a batch leaves its place only once it is recorded
    opened = await open_batches(session, key_id)
    if opened >= most:
        return "full"
    if opened + (0 if row is None else int(row["busy"])) >= most:
        return "wait"
    await session.row(
        "reserve_answer",
        scope=scope,
        name=place,
        lease=millis(lease_seconds),
        horizon=HORIZON,
        request_sha256=None,
    )
    return "mine"


async def renew_answer(session: Session, scope: str, name: str, *, lease_seconds: float) -> None:
    """It still is being made."""
    await session.run("renew_answer", scope=scope, name=name, lease=millis(lease_seconds))


async def reserve_answer(
    session: Session, scope: str, name: str, *, lease_seconds: float, request_sha256: str | None = None
) -> Answer:
    """The first one's answer; or, for nobody else in this time, the right to give it."""
    mine = await session.row(
        "reserve_answer",
        scope=scope,
        name=name,
        lease=millis(lease_seconds),
        horizon=HORIZON,
        request_sha256=request_sha256,
    )
    if mine is not None:
        return Answer(state="mine")
    row = await session.row("get_answer", scope=scope, name=name)
    document, asked = (None, None) if row is None else (row["document"], row["request_sha256"])
    return Answer(state="busy" if document is None else "kept", document=document, request_sha256=asked)


async def keep_answer(
    session: Session, scope: str, name: str, document: str, request_sha256: str | None = None
) -> None:
    await session.run("keep_answer", scope=scope, name=name, document=document, request_sha256=request_sha256)


async def drop_answer(session: Session, scope: str, name: str) -> None:
    """Nothing came of it: the next one may try."""
    await session.run("drop_answer", scope=scope, name=name)
