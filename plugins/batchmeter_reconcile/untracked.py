"""Batches at the vendor that nobody tracks: its list over some days, less what the ledger has."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from batchmeter.access import access_of
from batchmeter.errors import NotSupportedError

from .document import Untracked
from .ours import millis

if TYPE_CHECKING:
    from batchmeter import AsyncClient
    from batchmeter.models import Batch

_PAGE = 100
_LONGEST = timedelta(days=15)
"""A batch that runs on a day was made so long before it at most."""
MOST_LISTED = 20_000


async def untracked(client: "AsyncClient", accounts: Sequence[str], first: date, last: date) -> list[Untracked]:
    """Oldest first; accounts whose vendor lists no batches are left out."""
    found: list[Untracked] = []
    for account in accounts:
        try:
            found += await _of_account(client, account, first, last)
        except NotSupportedError:
            continue
    return sorted(found, key=lambda one: (one.created_at or datetime.min.replace(tzinfo=UTC), one.batch_id))


async def _of_account(client: "AsyncClient", account: str, first: date, last: date) -> list[Untracked]:
    begin, end = millis(first) // 1000, millis(last + timedelta(days=1)) // 1000
    oldest = begin - int(_LONGEST.total_seconds())
    access = await access_of(client)
    found: list[Untracked] = []
    page = await client.batches.list(custom_llm_provider=account, limit=_PAGE)
    listed = 0
    while True:
        near = [batch for batch in page.data if _touches(batch, begin, end)]
        found += [_untracked(account, one) for one in near if await access.batch(one.id, account) is None]
        listed += len(page.data)
        past = bool(page.data) and all(one.created_at is not None and one.created_at < oldest for one in page.data)
        if past or not page.has_next_page() or listed >= MOST_LISTED:
            return found
        page = await page.get_next_page()


def _touches(batch: "Batch", begin: int, end: int) -> bool:
    created = batch.created_at
    ended = batch.ended_at
    return (created is None or created < end) and (ended is None or ended >= begin)


def _untracked(account: str, batch: "Batch") -> Untracked:
    counts = batch.request_counts
    created = None if batch.created_at is None else datetime.fromtimestamp(batch.created_at, UTC)
    return Untracked(account, batch.id, batch.status, created, 0 if counts is None else counts.total)
