"""Claims: which worker follows a batch or makes an answer, until when, and how that ends."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import serialize
from .files import output_columns
from .records import Answer, Claim, Millis, Reschedule
from .session import Row, Session

HORIZON: Millis = 3 * 3_600_000
"""Nothing is leased, put off or begun further ahead than this: such a time was written under a clock that was wrong."""


def millis(seconds: float) -> Millis:
    return round(seconds * 1000)


def in_order(items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As every statement for many batches takes them: two that wait for each other would be a deadlock."""
    return sorted(items, key=lambda item: (str(item["account"]), str(item["batch_id"])))


async def claim_due(
    session: Session, *, owner: str, limit: int, lease_seconds: float, accounts: Collection[str] | None = None
) -> list[Claim]:
    """Due batches, most overdue first, leased; of these accounts only, if given."""
    due = await _most_overdue(session, await _accounts(session, accounts), limit * session.spare)
    due_at: dict[int, Millis] = {row["pk"]: row["next_poll_at"] for row in due}
    candidates = [{"pk": pk} for pk in due_at]
    leases = await session.each("claim_batches", candidates, owner=owner, lease=millis(lease_seconds), limit=limit)
    leases.sort(key=lambda row: (due_at[row["pk"]], row["pk"]))
    return await serialize.readable(session, leases, serialize.claim)


async def _most_overdue(session: Session, accounts: list[dict[str, object]], wanted: int) -> list[Row]:
    """Looked up by index account by account, so that a backlog costs the rows taken and not the backlog.

    First a fair share of each; all that are wanted of each only if an account's share left out any that count.
    """
    share = min(wanted, 2 * wanted // max(len(accounts), 1) + 1)
    while True:
        due = await session.each("due_batches", accounts, limit=share)
        due.sort(key=lambda row: (row["next_poll_at"], row["pk"]))
        last = {row["account"]: row["next_poll_at"] for row in due}
        shares = Counter(row["account"] for row in due)
        horizon = min((last[account] for account in shares if shares[account] == share), default=None)
        if share == wanted or horizon is None or (len(due) >= wanted and due[wanted - 1]["next_poll_at"] <= horizon):
            return due[:wanted]
        share = wanted


async def _accounts(session: Session, accounts: Collection[str] | None) -> list[dict[str, object]]:
    if accounts is not None:
        return [{"account": name} for name in dict.fromkeys(accounts)]
    return [{"account": row["account"]} for row in await session.rows("open_accounts")]


async def claim(
    session: Session, account: str, batch_id: str, *, owner: str, lease_seconds: float, polled: int | None = None
) -> Claim | None:
    """This batch, due or not; None if it is settled, unknown, or somebody holds it.

    Also None where its `poll_count` is no longer `polled`: somebody has taken a step since.
    """
    lease = millis(lease_seconds)
    names = {"account": account, "batch_id": batch_id, "owner": owner, "polled": polled}
    row = await session.row("claim_batch", **names, lease=lease, horizon=HORIZON)
    return None if row is None else serialize.claim(row)


async def renew(session: Session, held: Sequence[Claim], *, lease_seconds: float) -> list[Claim]:
    """Longer leases; those that were lost are left out."""
    by_name = {(claim.tracked.account, claim.tracked.batch_id, claim.token): claim for claim in held}
    items = [{"account": account, "batch_id": batch_id, "token": token} for account, batch_id, token in by_name]
    renewed = await session.each("renew_claims", in_order(items), lease=millis(lease_seconds))
    return [
        replace(by_name[row["account"], row["batch_id"], row["lease_token"]], expires_at=row["lease_until"])
        for row in renewed
    ]


async def reschedule(session: Session, results: Sequence[Reschedule]) -> int:
    """Release claims; returns how many were still ours."""
    released = await session.each("release_claims", in_order([_release(result) for result in results]))
    for result in results:
        if result.batch is not None:
            tracked = result.claim.tracked
            await session.each("put_file", output_columns(tracked.account, result.batch, tracked.submission))
    return len(released)


_UNCHANGED = {"snapshot": None, "snapshot_digest": None, "status": None, "ended": 0, "progress": -1}
"""Columns of a row whose look got no answer: they stay as they are."""


def _release(result: Reschedule) -> dict[str, object]:
    tracked = result.claim.tracked
    return {
        "account": tracked.account,
        "batch_id": tracked.batch_id,
        "token": result.claim.token,
        "next_poll_at": result.next_poll_at,
        "error": serialize.storable(result.error),
        "attempts": serialize.dump_attempts(result.attempts),
        **(_UNCHANGED if result.batch is None else serialize.snapshot_columns(result.batch)),
    }


async def put_off(session: Session, account: str, looks: Collection[tuple[str, Millis]], *, began: Millis) -> int:
    """Batch id -> when to look next, as a list whose request `began` then showed it open.

    Not where it is held, planned for later, or has become due since.
    """
    items = [{"account": account, "batch_id": batch_id, "next_poll_at": at} for batch_id, at in looks]
    return len(await session.each("put_off", in_order(items), asked=began))


async def correct_times(session: Session) -> int:
    """Make due now what a clock that ran ahead has put off by days; returns how many batches and deliveries."""
    accounts = [row["account"] for row in await session.rows("open_accounts")]
    loggers = [row["logger"] for row in await session.rows("loggers_owed")]
    batches = await session.run("correct_batches", accounts=accounts, horizon=HORIZON)
    deliveries = await session.run("correct_deliveries", loggers=loggers, horizon=HORIZON)
    if batches:
        session.signal("batches")
    if deliveries:
        session.signal("deliveries")
    return batches + deliveries


async def next_due_at(session: Session, accounts: Collection[str] | None = None) -> Millis | None:
    due = await session.each("next_due", await _accounts(session, accounts))
    return min((row["due"] for row in due if row["due"] is not None), default=None)


async def once(session: Session, scope: str, name: str, asker: str) -> bool:
    """True for the first of all askers. `asker` is its call's own: made again after a commit unheard of, it is the first still."""
    if await session.row("add_answer", scope=scope, name=name, document=asker) is not None:
        return True
    row = await session.row("get_answer", scope=scope, name=name)
    return row is not None and row["document"] == asker


async def not_once(session: Session, scope: str, name: str) -> None:
    """Undo a `once` whose deed did not happen: the next that asks is the first."""
    await session.run("forget_answer", scope=scope, name=name)


async def renew_answer(session: Session, scope: str, name: str, *, lease_seconds: float) -> None:
    """The answer still is being made."""
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
    document, digest = (None, None) if row is None else (row["document"], row["request_sha256"])
    return Answer(state="busy" if document is None else "kept", document=document, request_sha256=digest)


async def keep_answer(
    session: Session, scope: str, name: str, document: str, request_sha256: str | None = None
) -> None:
    await session.run("keep_answer", scope=scope, name=name, document=document, request_sha256=request_sha256)


async def drop_answer(session: Session, scope: str, name: str) -> None:
    """Nothing came of it: the next one may try."""
    await session.run("drop_answer", scope=scope, name=name)
