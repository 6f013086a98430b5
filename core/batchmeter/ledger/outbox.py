"""The outbox: events, the subscriptions that they are owed to, and deliveries, leased by a logger's worker."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from batchmeter.events import AnyEvent, PluginEvent, Subscription

from . import serialize
from .claims import millis
from .records import Delivery, DeliveryResult, DeliveryState, LoggerGauge, Millis, StoredEvent, Subscribed
from .session import Row, Session

FRESH_MILLIS = 30_000
"""A `last_seen` younger than this is not written again."""
UNSEEN_MILLIS = 15 * 60_000
"""Processes say every minute what they have; one that nobody had for so long has nobody."""
REDACT = "redact"
"""The kind that redactors subscribe to."""


class Redactors(Protocol):
    """Redactors among one process's plugins."""

    @property
    def redactors(self) -> frozenset[str]:
        """Names of those that work here."""
        ...

    @property
    def suspects(self) -> Mapping[str, str]:
        """Installed plugins that would redact and do not work here -> why."""
        ...


async def news(session: Session, wanted: Sequence[Subscription]) -> list[Subscription]:
    """Subscriptions of which the ledger has to learn something."""
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
    """Loggers of these names work here; one that was abandoned meanwhile stays so."""
    await session.each("touch_subscription", [{"name": name} for name in sorted(names)])


async def end(session: Session, name: str, *, reason: str) -> int:
    """Owe it no more events, and give up those that it has not accepted: dead, until replayed. Returns how many.

    One that the ledger does not know is written down as ended: a redactor that is installed, and never worked yet.
    """
    await session.run("end_subscription", name=name, kinds=_text({REDACT}))
    return await session.run("abandon_deliveries", logger=name, reason=reason)


async def subscriptions(session: Session) -> list[Subscribed]:
    """All, with what they are owed; also loggers without a subscription that have deliveries to accept."""
    found = {row["name"]: _subscribed(row) for row in await session.rows("list_subscriptions")}
    for row in await session.rows("loggers_owed"):
        unknown = Subscribed(row["logger"], None, scoped=False, since=session.now, last_seen=None, ended_at=session.now)
        found.setdefault(unknown.name, unknown)
    return [await _counted(session, found[name]) for name in sorted(found)]


async def unattended(session: Session) -> list[Subscribed]:
    """Loggers that are owed events which no process delivers; quick, however large the ledger is."""
    known = [_subscribed(row) for row in await session.rows("list_subscriptions")]
    counted = [await _counted(session, one) for one in known if is_unseen(one, session.now)]
    return [one for one in counted if one.owed]


def is_unseen(one: Subscribed, now: Millis) -> bool:
    """Nobody had it working for a while."""
    return one.ended_at is None and (one.last_seen is None or now - one.last_seen > UNSEEN_MILLIS)


def unattended_text(one: Subscribed) -> str:
    """For people."""
    sight = (
        "no process that has it was ever seen"
        if one.last_seen is None
        else f"nobody had it since {_utc(one.last_seen)}"
    )
    since = "" if one.oldest_owed_at is None else f" (the oldest of {_utc(one.oldest_owed_at)})"
    why = f", because {one.problem}" if one.problem else ""
    return (
        f"{one.owed:,} events are owed to logger {one.name}{since} and {sight}{why}: start one, or end it with "
        f"`batchmeter abandon {one.name}`"
    )


def _utc(millis: Millis) -> str:
    return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


async def missing_redactors(session: Session, here: Redactors) -> list[str]:
    """Redactors that must see every event before loggers do, and do not work here: subscribed ones and suspects."""
    rows = [_subscribed(row) for row in await session.rows("list_subscriptions")]
    live = {one.name for one in rows if one.kinds is not None and REDACT in one.kinds and one.ended_at is None}
    abandoned = {one.name for one in rows if one.ended_at is not None}
    return sorted((live | (here.suspects.keys() - abandoned)) - here.redactors)


async def _counted(session: Session, one: Subscribed) -> Subscribed:
    row = await session.row("owed_to", logger=one.name)
    assert row is not None
    return replace(one, owed=row["owed"], oldest_owed_at=row["oldest_owed_at"], dead=row["dead"])


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


_FIRST_ROWS = 16


async def claim_deliveries(
    session: Session,
    logger: str,
    *,
    owner: str,
    limit: int,
    lease_seconds: float,
    redactors: Redactors | None = None,
) -> list[Delivery]:
    """Due ones in recorded order; an ending waits for the same batch's `acreate_batch` unless that is dead.

    None at all while a redactor is missing that every event has to pass; `redactors` are those of the worker.
    """
    if redactors is not None and await missing_redactors(session, redactors):
        return []
    leases = await session.rows(
        "claim_deliveries", logger=logger, owner=owner, limit=limit, lease=millis(lease_seconds)
    )
    seqs = sorted(row["event_seq"] for row in leases)
    found = await session.each("get_deliveries", [{"event_seq": seq} for seq in seqs], logger=logger)
    found.sort(key=lambda row: row["seq"])
    return await serialize.readable(session, found, serialize.delivery)


async def finish_deliveries(session: Session, results: Sequence[DeliveryResult]) -> int:
    """Fenced by each delivery's token; returns how many counted."""
    items = [
        {
            "event_seq": result.delivery.stored.seq,
            "logger": result.delivery.logger,
            "token": result.delivery.token,
            "state": result.state,
            "next_attempt_at": result.next_attempt_at,
            "error": serialize.storable(result.error),
        }
        for result in results
    ]
    return len(await session.each("finish_deliveries", items))


async def deliveries(
    session: Session, *, logger: str | None = None, state: DeliveryState | None = None, limit: int = 1000
) -> list[Delivery]:
    found = await session.rows("list_deliveries", logger=logger, state=state, limit=limit)
    return await serialize.readable(session, found, serialize.delivery)


async def replay(session: Session, logger: str, *, since: Millis | None = None, dead_only: bool = False) -> int:
    """Make events due again for this logger, also those from before it was enabled; returns how many."""
    session.signal("deliveries")
    reopened = await session.run(
        "reopen_deliveries", logger=logger, since=since, dead_only=dead_only, every=not dead_only
    )
    if dead_only:
        return reopened
    return reopened + await session.run("backfill_deliveries", logger=logger, since=since)


async def next_delivery_at(session: Session, loggers: Collection[str]) -> Millis | None:
    due = await session.each("next_delivery", [{"logger": name} for name in dict.fromkeys(loggers)])
    return min((row["due"] for row in due), default=None)


async def gauges(session: Session) -> list[LoggerGauge]:
    return [
        LoggerGauge(row["logger"], row["pending"], row["dead"], row["delivered"], row["oldest_pending_at"])
        for row in await session.rows("gauges")
    ]


async def add_event(
    session: Session, event: AnyEvent | PluginEvent, callbacks: Collection[str], batch_id: str | None = None
) -> None:
    """The event and its deliveries to whoever is subscribed, and to these callbacks.

    An event id that exists already is an error, never a second delivery. `batch_id` is the ledger's name of the batch,
    where another batch has its id by now.
    """
    row = await session.row(
        "add_event",
        id=event.id,
        type=event.type,
        account=event.account,
        batch_id=batch_id or event.batch_id,
        revision=event.revision,
        **serialize.event_columns(event),
        place=0,
    )
    assert row is not None
    session.signal("deliveries")
    await session.run("add_deliveries", seq=row["seq"], type=event.type, callbacks=sorted(set(callbacks)))


async def record_event(session: Session, event: PluginEvent) -> bool:
    """A plugin's own event, owed to whoever handles its kind; False when it is recorded already."""
    await session.rows("lock_name", id=event.id)  # two processes may notice the same thing at once
    if await session.row("has_event", id=event.id) is not None:
        return False
    await add_event(session, event, ())
    return True


async def last_event(session: Session) -> int:
    """The highest number; 0 where there is none."""
    row = await session.row("last_event")
    return int(row["seq"]) if row else 0


async def events(
    session: Session,
    *,
    types: Collection[str] | None = None,
    after: int = 0,
    since: Millis | None = None,
    batch_id: str | None = None,
    key: str | None = None,
    limit: int = 1000,
    most_bytes: int | None = None,
) -> list[StoredEvent]:
    """In recorded order; `key` is the id of the proxy key whose batches they are about.

    Ends early, behind the first two, once their payloads have more than `most_bytes` together.
    """
    upto = await last_event(session)
    if upto <= after:
        return []
    await session.rows("fence_events")  # none up to this one is still to be committed
    chosen = {"types": serialize.or_none(types), "since": since, "batch_id": batch_id, "key": key, "upto": upto}
    found, size = list[StoredEvent](), 0
    while step := _step(limit - len(found), len(found), size, most_bytes):
        page = await session.rows("list_events", after=after, limit=step, **chosen)
        readable = await serialize.readable(session, page, serialize.stored_event)
        found += readable
        size += sum(len(stored.payload) for stored in readable)
        if len(page) < step:
            break
        after = page[-1]["seq"]  # one that cannot be read ends no page: whoever pages would take it for the last
    return found


def _step(left: int, count: int, size: int, most_bytes: int | None) -> int:
    """Rows to read next: a few, then as many as fit, by the size of those that were read."""
    if most_bytes is None or not left:
        return left
    if not count:
        return min(left, _FIRST_ROWS)
    room = most_bytes - size
    return min(left, room * count // size + 1) if room >= 0 else min(left, max(2 - count, 0))
