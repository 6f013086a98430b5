"""Subscriptions: who is owed events, whichever process has it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from batchmeter.events import Subscription

from .records import Millis, Subscribed
from .session import Row, Session

FRESH_MILLIS = 30_000
"""A `last_seen` younger than this is not written again."""
UNSEEN_MILLIS = 15 * 60_000
"""Processes say every minute what they have; one that nobody had for so long has nobody."""
REDACT = "redact"
"""The kind that redactors subscribe to."""


class Redactors(Protocol):
    """Of one process's plugins those that redact."""

    @property
    def redactors(self) -> frozenset[str]:
        """Names of those that work here."""
        ...

    @property
    def suspects(self) -> Mapping[str, str]:
        """Installed plugins that would redact and do not work here -> why."""
        ...


async def news(session: Session, wanted: Sequence[Subscription]) -> list[Subscription]:
    """Those of which the ledger has to learn something."""
    known = {row["name"]: row for row in await session.rows("list_subscriptions")}
    return [one for one in wanted if _is_news(one, known.get(one.name), session.now)]


def _is_news(one: Subscription, row: Row | None, now: Millis) -> bool:
    if row is None:
        return bool(one.kinds or one.problem)
    if one.problem:
        return row["ended_at"] is None and row["problem"] != one.problem
    if not one.kinds:
        return row["ended_at"] is None
    alike = row["kinds"] == _text(one.kinds) and row["scoped"] == int(one.scoped) and row["problem"] is None
    fresh = row["last_seen"] is not None and now - row["last_seen"] < FRESH_MILLIS
    return not (alike and fresh and row["ended_at"] is None)


async def subscribe(session: Session, wanted: Sequence[Subscription]) -> None:
    """Record what a process has. One without kinds is ended: its plugin handles no events any more."""
    for one in wanted:
        if one.problem:
            kinds = _text(one.kinds) if one.kinds else "*"
            await session.run("subscribe_broken", name=one.name, kinds=kinds, problem=one.problem)
        elif one.kinds:
            await session.run("subscribe", name=one.name, kinds=_text(one.kinds), scoped=int(one.scoped))
        else:
            await end(session, one.name, reason="it handles no events any more")


async def touch(session: Session, names: Collection[str]) -> None:
    """They work here; what was abandoned meanwhile stays so."""
    for name in sorted(names):
        await session.run("touch_subscription", name=name)


async def end(session: Session, name: str, *, reason: str) -> int:
    """Owe it no more events, and give up those that it has not accepted: dead, until replayed. Returns how many.

    One that the ledger does not know is written down as ended: a redactor that is installed, and never worked yet.
    """
    await session.run("end_subscription", name=name, kinds=_text({REDACT}))
    return await session.run("abandon_deliveries", logger=name, reason=reason)


async def subscriptions(session: Session) -> list[Subscribed]:
    """All, with what they are owed; also loggers without a subscription that have deliveries to accept."""
    found = {row["name"]: _subscribed(row) for row in await session.rows("list_subscriptions")}
    pending = {row["logger"] for row in await session.rows("loggers_owed")}
    for name in pending - found.keys():
        found[name] = Subscribed(name, None, scoped=False, since=session.now, last_seen=None, ended_at=session.now)
    dead = {row["logger"] for row in await session.rows("loggers_with_dead")}
    counted = [await _counted(session, one, has_dead=one.name in dead) for one in found.values() if one.name in pending]
    counted += [await _dead(session, one) for one in found.values() if one.name in dead - pending]
    rest = [one for one in found.values() if one.name not in pending | dead]
    return sorted([*counted, *rest], key=lambda one: one.name)


async def unattended(session: Session) -> list[Subscribed]:
    """Those that are owed events which no process delivers; quick, however large the ledger is."""
    stale = [one for one in map(_subscribed, await session.rows("list_subscriptions")) if is_unseen(one, session.now)]
    return [one for one in [await _counted(session, one) for one in stale] if one.owed]


def is_unseen(one: Subscribed, now: Millis) -> bool:
    """Nobody had it working for a while."""
    return one.ended_at is None and (one.last_seen is None or now - one.last_seen > UNSEEN_MILLIS)


def unattended_text(one: Subscribed) -> str:
    """For people."""
    seen = (
        "no process that has it was ever seen"
        if one.last_seen is None
        else f"nobody had it since {_utc(one.last_seen)}"
    )
    since = "" if one.oldest_owed_at is None else f" (the oldest of {_utc(one.oldest_owed_at)})"
    why = f", because {one.problem}" if one.problem else ""
    return (
        f"{one.owed:,} events are owed to logger {one.name}{since} and {seen}{why}: start one, or end it with "
        f"`batchmeter abandon {one.name}`"
    )


def _utc(millis: Millis) -> str:
    return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


async def missing_redactors(session: Session, here: Redactors) -> list[str]:
    """Those that must see every event before loggers do, and do not work here: subscribed ones and suspects."""
    rows = [_subscribed(row) for row in await session.rows("list_subscriptions")]
    live = {one.name for one in rows if one.kinds is not None and REDACT in one.kinds and one.ended_at is None}
    abandoned = {one.name for one in rows if one.ended_at is not None}
    return sorted((live | (here.suspects.keys() - abandoned)) - here.redactors)


async def _counted(session: Session, one: Subscribed, *, has_dead: bool = False) -> Subscribed:
    row = await session.row("owed_to", logger=one.name)
    assert row is not None
    first = None if row["first_seq"] is None else await session.row("event_time", seq=row["first_seq"])
    found = replace(one, owed=row["owed"], oldest_owed_at=first["recorded_at"] if first else None)
    return await _dead(session, found) if has_dead else found


async def _dead(session: Session, one: Subscribed) -> Subscribed:
    row = await session.row("dead_of", logger=one.name)
    return replace(one, dead=row["dead"] if row else 0)


def _subscribed(row: Row) -> Subscribed:
    return Subscribed(
        row["name"],
        None if row["kinds"] == "*" else frozenset(row["kinds"].strip(",").split(",")),
        scoped=bool(row["scoped"]),
        since=row["since"],
        last_seen=row["last_seen"],
        ended_at=row["ended_at"],
        problem=row["problem"],
    )


def _text(kinds: Collection[str]) -> str:
    return f",{','.join(sorted(kinds))},"
