"""A key's own lists: the ledger says what is in them, the provider how it is now."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from batchmeter.access import access_of
from batchmeter.errors import NotFoundError
from batchmeter.models import Batch, FileObject, Page

from .call import Call
from .ownership import no_batch, no_file
from .read_cache import is_final

LARGEST_BATCHES = 100
LARGEST_FILES = 10_000
"""The longest pages there are."""
_SINGLY = 100
"""Files of one page that are asked for one by one, at most, where the provider's list did not get to them."""
_AT_ONCE = 8
_PAGE = 500
"""Files of one answer of the provider's: all 10,000 in one would hold the loop for a fifth of a second."""

Item = TypeVar("Item", Batch, FileObject)


async def own_batches(call: Call, account: str, *, after: str | None, limit: int) -> Page[Batch]:
    """Open ones as the provider shows them now: in one page of its list, or else one by one."""
    access = await access_of(call.client)
    known = await access.batches_of_key(_key(call), account, after=after, limit=limit + 1)
    if known is None:
        raise no_batch(str(after))
    page = known[:limit]
    latest = {tracked.batch_id: tracked.batch for tracked in page}
    open_ids = {tracked.batch_id for tracked in page if not is_final(tracked)}
    if len(open_ids) > 1:
        with suppress(NotFoundError):  # the provider may have lost what the page begins after
            listed = await call.client.batches.list(after=after, limit=LARGEST_BATCHES, custom_llm_provider=account)
            latest |= {batch.id: batch for batch in listed.data if batch.id in open_ids}
            open_ids.difference_update(batch.id for batch in listed.data)

    latest |= await _each(lambda one: call.client.batches.retrieve(one, custom_llm_provider=account), open_ids)
    return _paged([latest[tracked.batch_id] for tracked in page], more=len(known) > limit)


async def own_files(
    call: Call, account: str, *, purpose: str | None, order: str | None, after: str | None, limit: int
) -> Page[FileObject]:
    """The key's files that the provider still has: by one page of its list, or else one by one."""
    access = await access_of(call.client)
    found: list[FileObject] = []
    listed: Page[FileObject] | None = None
    while True:
        room = limit - len(found)
        oldest_first = order == "asc"
        ids = await access.files_of_key(_key(call), account, after=after, oldest_first=oldest_first, limit=room + 1)
        if ids is None:
            raise no_file(str(after))
        if not ids:
            return _paged(found, more=False)
        listed = listed or await listed_files(call, account, purpose=purpose, wanted=frozenset(ids))
        page, singly, shown = await _there(call, account, listed, ids[:room])
        found += [file for one in page if (file := shown.get(one)) and purpose in (None, file.purpose)]
        more = len(ids) > len(page)
        if not more or len(found) == limit or (found and singly):
            return _paged(found, more=more)
        after = page[-1]


async def listed_files(
    call: Call,
    account: str,
    *,
    purpose: str | None = None,
    order: str | None = None,
    after: str | None = None,
    limit: int = LARGEST_FILES,
    wanted: Collection[str] = (),
) -> Page[FileObject]:
    """The provider's list, asked for in pages that are read in some milliseconds; with `wanted`, until all are found."""
    found: list[FileObject] = []
    left = set(wanted)
    while True:
        size = min(limit - len(found), _PAGE)
        page = await call.client.files.list(
            purpose=purpose,
            order=order,
            after=after,
            limit=size,
            custom_llm_provider=account,
        )
        short = not page.has_more or len(page.data) < size
        if short and not found:
            return page
        found += page.data
        left.difference_update(file.id for file in page.data)
        if short or len(found) >= limit or (wanted and not left):
            return _paged(found, more=page.has_more)
        after = page.data[-1].id


async def _there(
    call: Call, account: str, listed: Page[FileObject], ids: list[str]
) -> tuple[list[str], list[str], dict[str, FileObject]]:
    """As many of the ids as one request may look at, which of them the list did not show, and what is there."""
    shown = {file.id: file for file in listed.data}
    singly = [one for one in ids if one not in shown] if listed.has_more else []
    if len(singly) > _SINGLY:
        ids = ids[: ids.index(singly[_SINGLY])]
        del singly[_SINGLY:]
    shown |= await _each(lambda one: call.client.files.retrieve(one, custom_llm_provider=account), singly)
    return ids, singly, shown


async def _each(look: Callable[[str], Awaitable[Item]], ids: Collection[str]) -> dict[str, Item]:
    """Without those that the provider does not have."""
    found: dict[str, Item] = {}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(object_id: str) -> None:
        async with gate:
            with suppress(NotFoundError):
                found[object_id] = await look(object_id)

    tasks = [asyncio.create_task(one(object_id)) for object_id in ids]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return found


def _key(call: Call) -> str:
    """No key's id is empty: who has none has nothing."""
    return call.identity.attribution.key or ""


def _paged(found: Sequence[Any], *, more: bool) -> Page[Any]:
    first, last = (found[0].id, found[-1].id) if found else (None, None)
    return Page[Any](data=list(found), first_id=first, last_id=last, has_more=more)
