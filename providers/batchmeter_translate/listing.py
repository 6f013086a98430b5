"""A vendor's list of jobs, which it pages by tokens, read by ids as OpenAI's lists are."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from batchmeter.errors import BadRequestError, NotFoundError
from batchmeter.models import Batch, FileObject, Page
from batchmeter.providers import CallOptions

from .shape import Json, fresh_token

Fetch = Callable[[int, str | None, CallOptions], Awaitable[tuple[list[Json], str | None]]]
"""Page size, a page's token and the call's options -> rows, and the next page's token."""
Listed = TypeVar("Listed", Batch, FileObject)
_PAGE = 20
_REMEMBERED = 64


class TokenList:
    """Rows of one account's list that follow an id, in the vendor's own order.

    A page that was given out is continued by its token; for any other id the list is walked from its start, and its page
    may be a short one.
    """

    def __init__(self, fetch: Fetch, id_of: Callable[[Json], str], *, name: str, most: int) -> None:
        """`name`: the list's, for errors; `most`: rows of a page at most."""
        self._fetch = fetch
        self._id_of = id_of
        self._name = name
        self._most = most
        self._following: OrderedDict[str, str] = OrderedDict()
        """Last id of a page -> the token of the next page: it saves walking, and may be lost."""

    async def after(self, last: str | None, limit: int | None, options: CallOptions) -> tuple[list[Json], bool]:
        """Up to `limit` rows, and whether there are more; None: from the start. NotFoundError for an id not in it."""
        size = max(1, min(limit or _PAGE, self._most))
        if last is None:
            return await self._page(size, None, options)
        token = self._following.get(last)
        if token is not None:
            try:
                return await self._page(size, token, options)
            except BadRequestError:  # tokens age
                self._following.pop(last, None)
        return await self._walk(last, size, options)

    async def _walk(self, last: str, size: int, options: CallOptions) -> tuple[list[Json], bool]:
        token: str | None = None
        tokens: set[str] = set()
        while True:
            rows, token = await self._read(size, token, options)
            if token is not None:
                fresh_token(token, tokens, self._name)
            place = next((number for number, row in enumerate(rows) if self._id_of(row) == last), None)
            if place is not None and (place + 1 < len(rows) or token is None):
                return rows[place + 1 :], token is not None
            if place is not None:
                return await self._page(size, token, options)
            if token is None:
                raise no_such("batch", last)

    async def _page(self, size: int, token: str | None, options: CallOptions) -> tuple[list[Json], bool]:
        """Never an empty one that has a next: nothing would tell where to go on."""
        tokens: set[str] = set()
        while True:
            rows, following = await self._read(size, token, options)
            if rows or following is None:
                return rows, following is not None
            token = fresh_token(following, tokens, self._name)

    async def _read(self, size: int, token: str | None, options: CallOptions) -> tuple[list[Json], str | None]:
        rows, following = await self._fetch(size, token, options)
        if rows and following:
            self._following[self._id_of(rows[-1])] = following
            if len(self._following) > _REMEMBERED:
                self._following.popitem(last=False)
        return rows, following


def page_of(rows: Sequence[Listed], *, more: bool) -> Page[Listed]:
    """A page of these rows, and whether others follow."""
    first, last = (rows[0].id, rows[-1].id) if rows else (None, None)
    return Page(data=list(rows), first_id=first, last_id=last, has_more=more)


def no_such(what: str, name: str) -> NotFoundError:
    """OpenAI's refusal of an id that is not there."""
    message = f"No such {what}: {name}"
    body = {"error": {"message": message, "type": "invalid_request_error", "param": "id", "code": None}}
    return NotFoundError(message, status_code=404, body=body)
