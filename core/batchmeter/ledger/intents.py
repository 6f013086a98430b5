"""Intents: creates about to be called, until it is known what became of them."""

from dataclasses import replace

from . import rows
from .records import Intent, Millis
from .session import Session


async def open_intent(session: Session, intent: Intent) -> Intent:
    """Store the intent, durably; or return the one with the same account and idempotency key, unless closed."""
    new = replace(intent, created_at=intent.created_at or session.now, state="open", batch_id=None, reason=None)
    names = {"id": new.id, "account": new.submission.account, "key": new.idempotency_key}
    submission = rows.dump_submission(new.submission)
    if await session.row("add_intent", **names, submission=submission, created_at=new.created_at) is not None:
        return new
    found = await session.row("find_intent", **names)
    return new if found is None else rows.intent(found)


async def close_intent(session: Session, intent_id: str, reason: str) -> None:
    await session.run("close_intent", id=intent_id, reason=rows.said(reason))


async def use_intent(session: Session, intent_id: str, batch_id: str) -> None:
    """The create is known to have made this batch, even if the intent had been given up."""
    if await session.run("use_intent", id=intent_id, batch_id=batch_id, if_open=True):
        return
    await session.run("free_key", id=intent_id)
    await session.run("use_intent", id=intent_id, batch_id=batch_id)


async def open_intents(
    session: Session, *, created_before: Millis, limit: int = 100, account: str | None = None
) -> list[Intent]:
    """The oldest `limit` of each account."""
    found = await session.rows("open_intents", before=created_before, account=account, limit=limit)
    return await session.decoded(found, rows.intent)


async def get_intent(session: Session, intent_id: str) -> Intent | None:
    found = await session.row("get_intent", id=intent_id)
    return None if found is None else rows.intent(found)


async def intent_of(session: Session, account: str, idempotency_key: str) -> Intent | None:
    """The one that a create with this key would be given in place of a new one."""
    found = await session.row("find_intent", id="", account=account, key=idempotency_key)
    return None if found is None else rows.intent(found)
