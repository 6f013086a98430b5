"""Whose an object is: an administrator sees all, everybody else their own, and 404 for the rest."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from batchmeter.models import Attribution, Batch, FileObject, Page

from .call import Call
from .refusal import Refusal

Item = TypeVar("Item", Batch, FileObject)
_MOST_PAGES = 50
"""Pages of other people's objects that one list request looks through."""


async def account_for(call: Call, object_id: str, missing: Refusal) -> str | None:
    """The account to ask about an id; None: the default. Raises `missing` for what is not the caller's."""
    if call.identity.admin:
        account = call.account or await (await call.client.ready()).ledger.account_of(object_id)
    else:
        owner = await (await call.client.ready()).ledger.owner_of(object_id, call.account)
        if owner is None or not call.identity.owns(owner.attribution):
            raise missing
        account = owner.account
    call.allow(account or call.client.accounts.default)
    return account


def may_see(call: Call, missing: Refusal) -> Callable[[str, Attribution | None], None]:
    """For an object whose account and owner are known."""

    def check(account: str, attribution: Attribution | None) -> None:
        if not call.identity.owns(attribution):
            raise missing
        call.allow(account)

    return check


async def visible_page(
    call: Call, fetch: Callable[[str | None, int], Awaitable[Page[Item]]], *, after: str | None, limit: int
) -> Page[Item]:
    """A page of what the caller may see, as long as if there were nothing else in the account."""
    if call.identity.admin:
        return await fetch(after, limit)
    found: list[Item] = []
    looked = 0
    while True:
        page = await fetch(after, limit)
        looked += 1
        mine = await _mine(call, page.data)
        found += mine[: limit - len(found)]
        left = page.has_more and bool(page.data)
        if len(found) == limit or not left or looked == _MOST_PAGES:
            return _paged(page, found, more=left or mine[-1:] != found[-1:])
        after = page.last_id or page.data[-1].id


async def _mine(call: Call, items: Sequence[Item]) -> list[Item]:
    ledger = (await call.client.ready()).ledger
    owners = await ledger.owners_of([item.id for item in items], call.account)
    return [item for item in items if item.id in owners and call.identity.owns(owners[item.id].attribution)]


def _paged(page: Page[Any], found: list[Any], *, more: bool) -> Page[Any]:
    ends = {"first_id": found[0].id, "last_id": found[-1].id} if found else {"first_id": None, "last_id": None}
    return page.model_copy(update={"data": found, "has_more": more, **ends})


def no_batch(batch_id: str) -> Refusal:
    return Refusal(404, f"No batch found with id '{batch_id}'.")


def no_file(file_id: str) -> Refusal:
    return Refusal(404, f"No such File object: {file_id}", param="id")
