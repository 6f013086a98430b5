"""Pages of lists as callers get them: iterating goes on with the pages that follow, as with OpenAI's own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Self, TypeVar

from pydantic import PrivateAttr

from batchmeter.models import Page

Item = TypeVar("Item")


class _Listed(Page[Item]):
    _following: Callable[[str], Any] | None = PrivateAttr(default=None)
    """Fetches the page after this id."""
    _passed: frozenset[str] = PrivateAttr(default=frozenset())
    """Cursors of the pages before: a list that leads in a circle ends."""

    @classmethod
    def of(cls, page: Page[Item], following: Callable[[str], Any] | None, passed: frozenset[str] = frozenset()) -> Self:
        """The same page, which knows how to get the next."""
        made = cls.model_construct(page.model_fields_set, **page.__dict__, **(page.__pydantic_extra__ or {}))
        made._following, made._passed = following, passed  # noqa: SLF001 - its own
        return made  # type: ignore[return-value]  # mypy loses Self in the generic model_construct

    def has_next_page(self) -> bool:
        """Whether `get_next_page` has one."""
        return self._following is not None and self.has_more and self._cursor not in {"", *self._passed}

    @property
    def _cursor(self) -> str:
        """The last id of this page."""
        last = self.last_id or (getattr(self.data[-1], "id", None) if self.data else None)
        return str(last or "")

    def _fetch(self) -> Any:
        if self._following is None or not self.has_next_page():
            raise RuntimeError("there is no next page: look at has_next_page() first")
        return self._following(self._cursor)

    def _after(self, page: "_Listed[Item]") -> Self:
        """The fetched page, with what is behind it."""
        return self.of(page, self._following, self._passed | {self._cursor})


class AsyncPage(_Listed[Item]):
    """`async for` walks this page and all that follow it; `for` and `data` are this page's items."""

    async def get_next_page(self) -> Self:
        """RuntimeError where there is none."""
        return self._after(await self._fetch())

    async def __aiter__(self) -> AsyncIterator[Item]:
        page = self
        while True:
            for item in page.data:
                yield item
            if not page.has_next_page():
                return
            page = await page.get_next_page()

    def through(self, run: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]) -> Self:
        """The same, each further page fetched by `run`: on another loop."""
        fetch = self._following
        return self.of(self, fetch and (lambda last: run(lambda: fetch(last))), self._passed)

    def blocking(self, run: Callable[[Callable[[], Awaitable[Any]]], Any]) -> "SyncPage[Item]":
        """The same for code without a loop, each further page fetched by `run`."""
        fetch = self._following
        return SyncPage[Item].of(self, fetch and (lambda last: run(lambda: fetch(last))), self._passed)


class SyncPage(_Listed[Item]):
    """`for` walks this page and all that follow it; `data` is this page's items."""

    def get_next_page(self) -> Self:
        """RuntimeError where there is none."""
        return self._after(self._fetch())

    def __iter__(self) -> Iterator[Item]:  # type: ignore[override]  # the items, as OpenAI's own pages do
        page = self
        while True:
            yield from page.data
            if not page.has_next_page():
                return
            page = page.get_next_page()
