"""Answers that are made once and given again, and who is just making one."""

from .claims import HORIZON, millis
from .records import Answer
from .session import Session


async def once(session: Session, scope: str, name: str) -> bool:
    """True for the first of all processes that asks."""
    return await session.row("add_answer", scope=scope, name=name, document="once") is not None


async def not_once(session: Session, scope: str, name: str) -> None:
    """It did not happen after all: the next that asks is the first."""
    await session.run("forget_answer", scope=scope, name=name)


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
