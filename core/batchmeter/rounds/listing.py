"""An account's list of batches, page by page, read as far back as is worth its requests."""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import suppress
from email.utils import mktime_tz, parsedate_tz

from batchmeter.errors import APIResponseError
from batchmeter.ledger.records import Millis
from batchmeter.models import Batch, Page
from batchmeter.providers import CallOptions, Provider
from batchmeter.web import AnswerHead

PAGE = 100
MOST_PAGES = 2000
"""A list that goes on for longer never ends, or is not worth its requests."""
_UNSORTED_SECONDS = 10.0
"""Batches made at about the same time may be listed in any order."""


async def back_to(
    provider: Provider,
    floor: float | None,
    *,
    elapsed: float | None = None,
    known: Collection[str] | None = None,
    top: list[str] | None = None,
    timeout: float = 60.0,
) -> AsyncIterator[list[Batch]]:
    """Page by page, those not older than `floor` (epoch seconds). A list that is not newest first is read to its end.

    A provider's clock may be behind ours by any time. `elapsed` says how many seconds ago, at most, the batch in
    question was made: the list is read back so far from its own newest batch. `known` are the ids that stood at its top
    the last time: all above them are new, whatever their times say. `top` takes those that stand there now.
    """
    lowest, newest, sorted_so_far, new = float("inf"), float("-inf"), True, known is not None
    async for page in pages(provider, timeout=timeout):
        times = [batch.created_at for batch in page.data if batch.created_at is not None]
        sorted_so_far = sorted_so_far and _falls(times, lowest)
        lowest, newest = min([lowest, *times]), max([newest, *times])
        if floor is not None and elapsed is not None and times:
            floor = min(floor, newest - elapsed - _UNSORTED_SECONDS)
        if top is not None:
            top.extend(batch.id for batch in page.data[: PAGE - len(top)])
        kept: list[Batch] = []
        for batch in page.data:
            new = new and batch.id not in (known or ())
            if new or floor is None or batch.created_at is None or batch.created_at >= floor:
                kept.append(batch)
        yield kept
        if floor is not None and sorted_so_far and lowest < floor and not new:
            return


def skew_of(heads: Iterable[AnswerHead], now: Millis) -> float:
    """Seconds that a provider's clock is ahead of the ledger's, by the `Date` of an answer; 0 where none says it."""
    for head in heads:
        date = parsedate_tz(head.headers.get("date", ""))
        with suppress(ValueError, OverflowError):  # a year that no calendar has
            if date is not None:
                return mktime_tz(date) - now / 1000
    return 0.0


def _falls(times: Iterable[float], lowest: float) -> bool:
    for time in times:
        if time > lowest + _UNSORTED_SECONDS:
            return False
        lowest = min(lowest, time)
    return True


async def pages(provider: Provider, *, timeout: float) -> AsyncIterator[Page[Batch]]:
    """Ends where a cursor leads nowhere new, or where one was before. APIResponseError after MOST_PAGES."""
    after: str | None = None
    earlier: set[str] = set()
    cursors: set[str | None] = set()
    while after not in cursors:
        if len(cursors) == MOST_PAGES:
            raise APIResponseError(f"{provider.endpoint}: its list of batches goes on after {MOST_PAGES * PAGE}")
        cursors.add(after)
        page = await provider.list_batches(after=after, limit=PAGE, options=CallOptions(timeout=timeout))
        yield page
        ids = {batch.id for batch in page.data}
        if not page.has_more or not ids - earlier:
            return
        after, earlier = page.last_id or page.data[-1].id, ids
