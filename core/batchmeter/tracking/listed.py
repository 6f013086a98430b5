"""An account's batches as its list shows them, back to some time."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from batchmeter.models import Batch, Page
from batchmeter.providers import CallOptions, Provider

PAGE = 100
SKEW_SECONDS = 600.0
"""How far a provider's clock may be behind ours."""
_UNSORTED_SECONDS = 10.0
"""Batches made at about the same time may be listed in any order."""


@dataclass(slots=True)
class Listing:
    """A reading of an account's list, and what it tells of the provider's clock."""

    newest: float | None = None
    """When its newest batch was made, by the provider's clock: none that is made later has an earlier time."""


async def back_to(
    provider: Provider,
    floor: float | None,
    *,
    elapsed: float | None = None,
    listing: Listing | None = None,
    timeout: float = 60.0,
) -> AsyncIterator[list[Batch]]:
    """Page by page, those not older than `floor` (epoch seconds). A list that is not newest first is read to its end.

    `elapsed` says how many seconds ago, at most, the batch in question was made. The provider's clock may be behind:
    the list is then read back so far from its own newest batch.
    """
    lowest, sorted_so_far, seen = float("inf"), True, listing or Listing()
    async for page in pages(provider, timeout=timeout):
        times = [batch.created_at for batch in page.data if batch.created_at is not None]
        sorted_so_far = sorted_so_far and _falls(times, lowest)
        lowest = min([lowest, *times])
        seen.newest = max([*times, *([] if seen.newest is None else [seen.newest])], default=None)
        if floor is not None and elapsed is not None and seen.newest is not None:
            floor = min(floor, seen.newest - elapsed - SKEW_SECONDS)
        yield [batch for batch in page.data if floor is None or batch.created_at is None or batch.created_at >= floor]
        if floor is not None and sorted_so_far and lowest < floor:
            return


def _falls(times: Iterable[float], lowest: float) -> bool:
    for time in times:
        if time > lowest + _UNSORTED_SECONDS:
            return False
        lowest = min(lowest, time)
    return True


async def pages(provider: Provider, *, timeout: float) -> AsyncIterator[Page[Batch]]:
    """Ends where a cursor leads nowhere new, or where one was before."""
    after: str | None = None
    seen: set[str] = set()
    cursors: set[str | None] = set()
    while after not in cursors:
        cursors.add(after)
        page = await provider.list_batches(after=after, limit=PAGE, options=CallOptions(timeout=timeout))
        yield page
        ids = {batch.id for batch in page.data}
        if not page.has_more or not ids - seen:
            return
        after, seen = page.last_id or page.data[-1].id, ids
