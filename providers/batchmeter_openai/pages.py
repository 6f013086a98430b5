"""OpenAI's cursors over lists with page tokens: `after` takes an id, such a vendor a token that each page brings."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from batchmeter.errors import APIResponseError
from batchmeter.models import Batch, FileObject, Page

Item = TypeVar("Item", Batch, FileObject)
Fetch = Callable[[str | None, int], Awaitable[tuple[list[Item], str | None]]]
"""From a token and a number of rows to the rows and the next page's token."""
LARGEST = 100
MOST_ENDS = 1024
MOST_PAGES = 10_000
"""Pages of one list."""


class TokenPages(Generic[Item]):
    """Remembers the token after each page's last row: who walks a list page by page reads each page once.

    Any other id is looked for from the list's beginning.
    """

    def __init__(self, fetch: Fetch[Item]) -> None:
        self._fetch: Fetch[Item] = fetch
        self._tokens: OrderedDict[str, str] = OrderedDict()

    async def page(self, after: str | None, limit: int | None) -> Page[Item]:
        wanted = min(limit or 20, LARGEST)
        if after is None or after in self._tokens:
            return await self._following(after, None if after is None else self._tokens[after], wanted)
        rows, token = await self._read(None, LARGEST)
        known_tokens: set[str] = set()
        while after not in (ids := [row.id for row in rows]):
            if token is None:
                return _page([], more=False)
            rows, token = await self._read(_fresh(token, known_tokens), LARGEST)
        left = rows[ids.index(after) + 1 :]
        if not left and token is not None:
            left, token = await self._read(token, wanted)
        return _page(left[:wanted], more=token is not None or len(left) > wanted)

    async def _following(self, after: str | None, token: str | None, wanted: int) -> Page[Item]:
        """Rows that were seen before are there again where newer ones have moved the pages: they are left out."""
        known_tokens: set[str] = set()
        while True:
            rows, token = await self._read(token if token is None else _fresh(token, known_tokens), wanted)
            known = [row.id for row in rows]
            left = rows[known.index(after) + 1 :] if after in known else rows
            if left or token is None:
                return _page(left[:wanted], more=token is not None or len(left) > wanted)

    async def _read(self, token: str | None, limit: int) -> tuple[list[Item], str | None]:
        """A page without rows is the last one, whatever token it brings."""
        rows, following = await self._fetch(token, limit)
        if not rows or not following:
            return rows, None
        self._tokens[rows[-1].id] = following
        if len(self._tokens) > MOST_ENDS:
            self._tokens.popitem(last=False)
        return rows, following


def _fresh(token: str, known_tokens: set[str]) -> str:
    if token in known_tokens or len(known_tokens) >= MOST_PAGES:
        raise APIResponseError(f"a list leads in a circle, or has no end: page {len(known_tokens) + 1}")
    known_tokens.add(token)
    return token


def _page(rows: list[Item], *, more: bool) -> Page[Item]:
    ends = {"first_id": rows[0].id, "last_id": rows[-1].id} if rows else {}
    return Page(data=rows, has_more=more and bool(rows), **ends)
