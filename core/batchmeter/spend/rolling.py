"""Spend: sums of what settled batches cost, fed exactly once from the events, in the order that they were recorded.

A batch counts with the highest revision among its ending events up to the mark, and for the day it was first settled.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from batchmeter.ledger.records import Millis
from batchmeter.ledger.serialize import UNREADABLE
from batchmeter.ledger.session import Database, Reader, Row, Session

from .figures import COLUMNS, DAYS, Group, Kind, Place, Tally, labels_of
from .settled import Settled, settled_as

ROLL_EVENTS = 1000
"""In one transaction, so that nobody waits long behind it."""
PAGE_ROWS = 500
KEPT = tuple(
    Kind.PRUNED | Kind.LABELLED | models | invented
    for models in (DAYS, Kind.MODELS)
    for invented in (DAYS, Kind.INVENTED)
)
"""The kinds of what is kept of pruned batches."""
ALL_DAYS = -1
"""Among the days that changed: the sums were begun anew."""
_EVER = 2**31 - 1
"""A period after all others."""


async def roll(database: Database, blocks: int | None = None) -> int:
    """Add what happened since the mark, block by block (so many at most); returns how many endings were added.

    What is recorded before the call is in the sums when it returns, whoever added it.
    """
    state = await database.read(_state)
    upto, mark = state.last, state.mark
    if mark < 0:
        mark = await database.write(_add_up_anew, durable=True)
    added = done = 0
    while mark < upto and (blocks is None or done < blocks):
        endings, mark = await database.write(partial(roll_block, upto), durable=True)  # a change's number is given once
        added += endings
        done += 1
    return added


async def bring_up(database: Database) -> int:
    """Roll all; returns how often the sums have changed, in whichever process: the same number, the same sums."""
    state = await database.read(_state)
    if state.mark < state.last:
        await roll(database)
        state = await database.read(_state)
    return state.changes


class _State(NamedTuple):
    mark: int
    """The last event in the sums."""
    last: int
    """The last event. None will show up later with a smaller number."""
    changes: int


async def _state(session: Session) -> _State:
    row = await session.row("spend_state")
    assert row is not None
    state = _State(row["mark"], row["last"], row["changes"])
    if state.mark < state.last:
        await session.rows("fence_events")
    return state


async def roll_block(upto: int, session: Session) -> tuple[int, int]:
    mark = await lock_mark(session)
    if mark >= upto:  # somebody else was faster
        return 0, mark
    keys = await _metadata_keys(session)
    endings = await session.rows("spend_endings", after=mark, upto=upto, limit=ROLL_EVENTS)
    tally = Tally()
    await session.decoded(endings, partial(_add_ending, tally, keys))
    await store(session, tally.spread())
    mark = endings[-1]["seq"] if len(endings) == ROLL_EVENTS else upto
    await session.run("move_spend_mark", seq=mark)
    if endings:
        await note_change(session, tally.days)
    return len(endings), mark


async def note_change(session: Session, days: Iterable[int] = ()) -> None:
    """The sums of these days, or the settlements behind them, have become others."""
    await session.run("note_spend_change")
    await session.each("touch_spend", [{"period": day} for day in sorted(days)])


async def lock_mark(session: Session) -> int:
    """The last event in the sums; until the transaction ends, nobody else adds to them."""
    row = await session.row("lock_spend_mark")
    assert row is not None
    return int(row["seq"])


def _add_ending(tally: Tally, keys: Mapping[str, int], row: Row) -> None:
    earlier = row["earlier_revision"]
    if earlier is not None and earlier > row["revision"]:
        return
    labels = keys_of(keys, row)
    if earlier is not None:
        _add(tally, row, row["earlier"], labels, -1)
    _add(tally, row, row["settlement"], labels, 1)


def _add(tally: Tally, row: Row, document: str, keys: Collection[str], sign: int, kind: Kind = DAYS) -> None:
    """A row that cannot be read adds nothing, and takes nothing away later: `ledger check` names it."""
    try:
        settled = settled_as(row["settled_at"], row["submission"], document)
    except UNREADABLE:
        return
    tally.add(settled, keys, sign, kind)


def keys_of(keys: Mapping[str, int], row: Row) -> list[str]:
    """The metadata keys that label a batch: those that were known when it first ended."""
    return [name for name, since in keys.items() if row["first_seq"] > since]


async def store(session: Session, tally: Tally) -> None:
    groups = {place[2] for place in tally.sums} | {place[2] for place, _ in tally.unknown}
    ids = {group: group.id for group in groups}
    await session.each("add_spend_group", [{"id": ids[group], **group.columns()} for group in groups])
    labels = [(ids[group], *label) for group in groups for label in labels_of(group)]
    names = ("group_id", "name", "value")
    await session.each("add_spend_label", [dict(zip(names, label, strict=True)) for label in labels])
    sums = [
        {**_key(place, ids), **{name: figures[name] for name in COLUMNS}}
        for place, figures in tally.sums.items()
        if any(figures.values())
    ]
    await session.each("add_spend", sums)
    reasons = [
        {**_key(place, ids), "reason": reason, "batches": figures["batches"], "lines": figures["lines"]}
        for (place, reason), figures in tally.unknown.items()
        if any(figures.values())
    ]
    await session.each("add_spend_unknown", reasons)


def _key(place: Place, ids: Mapping[Group, int]) -> dict[str, int]:
    kind, period, group = place
    return {"kind": int(kind), "period": period, "group_id": ids[group]}


async def _metadata_keys(session: Session) -> dict[str, int]:
    """Name -> the event after which it counts."""
    return {row["name"]: row["since"] for row in await session.rows("spend_metadata_keys")}


async def metadata_keys(session: Session) -> list[str]:
    return list(await _metadata_keys(session))


async def label_metadata(session: Session, names: Collection[str]) -> None:
    """Group by these metadata keys too, from now on; batches that ended before count as having none."""
    known = await _metadata_keys(session)
    new = [name for name in names if name not in known]
    if new:
        await lock_mark(session)
        last = await session.row("last_event")
        assert last is not None
        await session.each("add_spend_metadata_key", [{"name": name, "since": last["seq"]} for name in new])


async def keep_pruned(session: Session, batches: Sequence[Mapping[str, object]]) -> None:
    """Keep the sums of batches that are about to be pruned (they are in the totals already) apart, for a rebuild."""
    keys = await _metadata_keys(session)
    tally = Tally()

    def add(row: Row) -> None:
        _add(tally, row, row["settlement"], keys_of(keys, row), 1, Kind.PRUNED)

    await session.decoded(await session.each("spend_of_batch", batches), add)
    await store(session, tally)
    if batches:
        await note_change(session)


# rebuilding and checking


async def rebuild(database: Database, keys: Collection[str] | None = None) -> int:
    """Sum everything anew, from all events and from what was kept of pruned batches; returns how many endings.

    `keys`: from now on group by exactly these metadata keys, also what happened before.
    """
    await database.write(partial(_start_anew, keys), durable=True)
    return await roll(database)


async def _add_up_anew(session: Session) -> int:
    """After an update that brought new kinds of sums; returns the mark. Who comes second finds it done."""
    mark = await lock_mark(session)
    if mark >= 0:
        return mark
    await _start_anew(None, session, since=await _metadata_keys(session))
    return 0


async def _start_anew(keys: Collection[str] | None, session: Session, since: Mapping[str, int] | None = None) -> None:
    """`since`: the metadata keys as they are, else from the first event on."""
    await lock_mark(session)
    named = list(await _metadata_keys(session)) if keys is None else sorted(keys)
    await session.run("forget_spend_metadata_keys")
    chosen = since if since is not None else dict.fromkeys(named, 0)
    await session.each("add_spend_metadata_key", [{"name": name, "since": at} for name, at in chosen.items()])
    for statement in ("forget_spend", "forget_spend_unknown"):
        await session.run(statement, pruned=int(Kind.PRUNED))
    for statement in ("forget_spend_labels", "forget_spend_groups"):
        await session.run(statement)
    await note_change(session, [ALL_DAYS])
    async for tally in _kept(session):
        await store(session, tally.spread())
    await session.run("move_spend_mark", seq=0)


async def _kept(session: Session) -> AsyncIterator[Tally]:
    """Sums kept of pruned batches, in pages, as if it were not pruned."""
    for of in KEPT:
        async for page in stored_rows(session, of, 0, _EVER):
            yield as_live(page)


def as_live(tally: Tally) -> Tally:
    live = Tally()
    for (kind, period, group), figures in tally.sums.items():
        live.sums[kind & ~Kind.PRUNED, period, group].update(figures)
    for ((kind, period, group), reason), figures in tally.unknown.items():
        live.unknown[(kind & ~Kind.PRUNED, period, group), reason].update(figures)
    return live


async def stored_rows(session: Session, kind: Kind, first: int, last: int) -> AsyncIterator[Tally]:
    """Rows of one kind and range of periods, in pages."""
    chosen = {"kind": int(kind), "first": first, "last": last, "limit": PAGE_ROWS}
    async for page in _pages(session, "spend_rows", chosen, after="period", after_group="group_id"):
        tally = Tally()
        for row in page:
            tally.sums[kind, row["period"], _group(row)].update({name: row[name] for name in COLUMNS if row[name]})
        yield tally
    place = {"after": "period", "after_group": "group_id", "after_reason": "reason"}
    async for page in _pages(session, "spend_unknown_rows", chosen, **place):
        tally = Tally()
        for row in page:
            figures = {name: row[name] for name in ("batches", "lines") if row[name]}
            tally.unknown[(kind, row["period"], _group(row)), row["reason"]].update(figures)
        yield tally


async def _pages(
    session: Session, statement: str, chosen: Mapping[str, object], **place: str
) -> AsyncIterator[list[Row]]:
    """`place`: parameter -> the column whose last value it takes."""
    after: dict[str, Any] = {}
    while page := await session.rows(statement, **chosen, **after):
        yield page
        after = {name: page[-1][column] for name, column in place.items()}


def _group(row: Row) -> Group:
    return Group(**{name: row[name] for name in Group.__slots__})


async def mark_and_keys(session: Session) -> tuple[int, dict[str, int]]:
    mark = await session.row("spend_mark")
    return (mark["seq"] if mark else 0), await _metadata_keys(session)


async def settled_between(
    reader: Reader, since: Millis | None, until: Millis | None, page_rows: int
) -> AsyncIterator[tuple[Settled, Collection[str]]]:
    """Newest revision of each batch first settled in this time, with the metadata keys that label it."""
    keys = (await reader.read(mark_and_keys))[1]
    after: dict[str, Millis] = {}
    chosen = {"since": since, "until": until, "limit": page_rows}
    while page := await reader.read(lambda session: session.rows("list_costs", **chosen, **after)):  # noqa: B023 - at once
        for row in page:
            yield settled_as(row["settled_at"], row["submission"], row["settlement"]), keys_of(keys, row)
        after = {"after_time": page[-1]["settled_at"], "after_pk": page[-1]["pk"]}
