"""Whether a ledger keeps its promises, and what is open in it."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from batchmeter.events import Outcome
from batchmeter.ledger import serialize
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.outbox import unattended_text
from batchmeter.ledger.session import Row, Session
from batchmeter.spend import check as spend_check
from batchmeter.spend.figures import Kind

from .ledger_copy import PAGE_ROWS, Table, count_rows, read_page, read_tables

CHECKS: Mapping[str, str] = {
    "check_beginnings": "batches without their acreate_batch",
    "check_endings": "settled batches without an ending event",
    "check_early_endings": "batches with an ending event that are not settled",
    "check_repeats": "events recorded twice",
    "check_settlements": "settled batches without a settlement",
    "check_abandoned": "batches neither settled nor followed",
    "check_leases": "leases that never end",
    "check_looks": "batches whose next look is more than a week away (`batchmeter wait ID` looks now)",
}
"""Statement that counts -> what it counts; each must find none."""


@dataclass(frozen=True, slots=True)
class Health:
    """The findings of a check."""

    url: str
    schema_version: int
    rows: dict[str, int]
    """By table."""
    wrong: dict[str, int]
    """Fault -> how often it was found."""
    damage: tuple[str, ...]
    """Lines of the database's report on its own file."""
    warnings: tuple[str, ...] = ()
    """Nothing is wrong, but somebody has to act: events that nobody delivers."""

    @property
    def sound(self) -> bool:
        return not self.wrong and not self.damage


def _whole_batch(row: Row) -> None:
    batch = serialize.tracked(row).batch
    if (row["status"], row["ended"]) != (batch.status, int(batch.ended)):
        raise ValueError(f"status {row['status']!r}, ended {row['ended']}, but its snapshot is {batch.status!r}")
    _compare(row, "submission_digest", row["submission"].encode())
    _compare(row, "snapshot_digest", row["snapshot"].encode())


def _whole_intent(row: Row) -> None:
    serialize.intent(row)
    _compare(row, "submission_digest", row["submission"].encode())


def _whole_settlement(row: Row) -> None:
    settlement, _ = serialize.settled(row)
    if row["revision"] != settlement.revision:
        raise ValueError(f"revision {row['revision']}, but its document is of revision {settlement.revision}")
    _compare(row, "digest", row["settlement"].encode(), row["line_groups"].encode())


def _whole_event(row: Row) -> None:
    stored = serialize.stored_event(row)
    names = ("id", "type", "account", "revision")
    if differing := [name for name in names if row[name] != getattr(stored.event, name)]:
        raise ValueError(f"{', '.join(differing)}: not as in its payload")
    _compare(row, "digest", stored.payload)


def _compare(row: Row, column: str, *documents: bytes) -> None:
    if row[column] not in (None, serialize.digest(*documents)):
        raise ValueError("not what was written: its digest differs")


DOCUMENTS: Mapping[str, Callable[[Row], object]] = {
    "intent": _whole_intent,
    "batch": _whole_batch,
    "settlement": _whole_settlement,
    "event": _whole_event,
    "file": lambda row: serialize.load_attribution(row["attribution"]),
}
"""Table -> how its rows are read wherever they are used, and what else must hold of each; raises one of UNREADABLE."""


async def check(ledger: Ledger) -> Health:
    """Reads every row of every table; writes nothing."""
    wrong, damage, version = await ledger.database.read(_check)
    for table in await ledger.database.read(read_tables):
        if bad := await _unreadable(ledger, table):
            wrong[f"rows of {table.name} that are damaged, the first: {bad[0]}"] = len(bad)
    if differing := await _differing(ledger):
        wrong[f"endings whose event and settlement differ, the first: {differing[0]}"] = len(differing)
    async with ledger.database.snapshot() as snapshot:
        if unequal := await spend_check.check(snapshot):
            wrong[
                f"sums of costs that differ from the settlements (`batchmeter ledger rollup --rebuild` adds up anew), the first: {unequal[0]}"
            ] = len(unequal)
    warnings = [unattended_text(one) for one in await ledger.unattended()]
    if rounded := await ledger.database.read(_rounded):
        warnings.append(f"costs of more than 18 decimals, rounded in the sums of reports: {rounded:,}")
    return Health(ledger.url, version, await count_rows(ledger), wrong, damage, tuple(warnings))


async def _rounded(session: Session) -> int:
    statement = session.statement("SELECT sum(inexact) AS rounded FROM batchmeter.spend_sum WHERE kind = %(months)s")
    row = await session.row(statement, months=int(Kind.MONTHS))
    return int(row["rounded"] or 0) if row else 0


async def _unreadable(ledger: Ledger, table: Table) -> list[str]:
    """Rows of a table that cannot be read, each with its reason."""
    bad, after = list[str](), dict[str, object]()
    decode = DOCUMENTS.get(table.name, _details if "details" in table.columns else None)
    if decode is None:
        return bad
    while page := await ledger.database.read(partial(read_page, table, after)):
        bad += await asyncio.to_thread(_unreadable_of, page, decode)
        after = {f"after_{column}": page[-1][column] for column in table.key}
    return bad


def _details(row: Row) -> object:
    """JSON in the table of some plugin."""
    return json.loads(row["details"])


async def _differing(ledger: Ledger) -> list[str]:
    """Every ending is written twice, so that damage to either shows."""
    found, after = list[str](), 0
    while page := await ledger.database.read(partial(_endings, after)):
        found += await asyncio.to_thread(_differing_of, page)
        after = page[-1]["seq"]
    return found


async def _endings(after: int, session: Session) -> list[Row]:
    return await session.rows("list_endings", after=after, limit=PAGE_ROWS)


def _differing_of(page: Sequence[Row]) -> list[str]:
    differing: list[str] = []
    for row in page:
        with suppress(*serialize.UNREADABLE):  # what cannot be read is counted elsewhere
            event, settlement = json.loads(bytes(row["payload"])), json.loads(row["settlement"])
            names = [name for name in (*Outcome.model_fields, "batch") if event.get(name) != settlement.get(name)]
            if names:
                differing.append(f"{serialize.described(row)}: {', '.join(names)}")
    return differing


def _unreadable_of(page: Sequence[Row], decode: Callable[[Row], object]) -> list[str]:
    bad: list[str] = []
    for row in page:
        try:
            decode(row)
        except serialize.UNREADABLE as error:
            bad.append(f"{serialize.described(row)}: {' '.join(str(error).splitlines()[:3])}")
    return bad


async def _check(session: Session) -> tuple[dict[str, int], tuple[str, ...], int]:
    wrong = {what: int(row["wrong"]) for name, what in CHECKS.items() for row in await session.rows(name)}
    reports = [str(row["integrity_check"]) for row in await session.rows("check_file")]
    version = await session.row("schema_version")
    damage = tuple(line for line in reports if line != "ok")
    return {what: count for what, count in wrong.items() if count}, damage, version["version"] if version else 0
