"""Settled batches whole, as exports want them: how each was submitted, and what it came to."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Any

from batchmeter.events import Settlement
from batchmeter.ledger import serialize
from batchmeter.ledger.records import Millis, Submission
from batchmeter.ledger.session import Database, Row, Session

PAGE_ROWS = 200
"""Of whole settlements: some kilobytes each."""


@dataclass(frozen=True, slots=True)
class SettledBatch:
    """A settled batch whole: how it was submitted, and what it came to."""

    settled_at: Millis
    """When it was first settled; a revision does not change it."""
    submission: Submission
    settlement: Settlement
    """Of the newest revision."""


async def settled_batches(
    database: Database, *, since: Millis | None = None, until: Millis | None = None
) -> AsyncGenerator[SettledBatch]:
    """Newest revision of each batch first settled from `since` to before `until`, all as of one moment."""
    chosen = {"since": since, "until": until, "limit": PAGE_ROWS}
    after: dict[str, Any] = {}
    async with database.snapshot() as reader:
        while page := await reader.read(partial(_settled_page, {**chosen, **after})):
            rows, found = page
            for one in found:
                yield one
            after = {"after_time": rows[-1]["settled_at"], "after_pk": rows[-1]["pk"]}


async def _settled_page(chosen: dict[str, Any], session: Session) -> tuple[list[Row], list[SettledBatch]] | None:
    rows = await session.rows("list_costs", **chosen)
    return (rows, await serialize.readable(session, rows, _settled_batch)) if rows else None


def _settled_batch(row: Row) -> SettledBatch:
    return SettledBatch(row["settled_at"], serialize.load_submission(row["submission"]), serialize.settlement(row))
