"""Ownership of objects: an administrator sees all, everybody else their own, and 404 for the rest."""

from collections.abc import Callable

from batchmeter.access import access_of
from batchmeter.models import Attribution

from .call import Call
from .errors import Refusal


async def account_for(call: Call, object_id: str, missing: Refusal) -> str | None:
    """The account to ask about an id; None: the default. Raises `missing` for what is not the caller's."""
    if call.identity.admin:
        account = call.account or await (await access_of(call.client)).account_of(object_id)
    else:
        owner = await (await access_of(call.client)).owner_of(object_id, call.account)
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


def can_be_id(text: str) -> bool:
    """A NUL or half a character is in none, and no database can be asked for it."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def no_batch(batch_id: str) -> Refusal:
    return Refusal(404, f"No batch found with id '{batch_id}'.")


def no_file(file_id: str) -> Refusal:
    return Refusal(404, f"No such File object: {file_id}", param="id")
