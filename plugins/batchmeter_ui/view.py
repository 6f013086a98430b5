"""Pages and views: a page is a place and what shows it; a view is one request for it, with who asks and what they may see.

A view's links hold wherever the proxy is mounted.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, quote, urlencode

from batchmeter.access import Access, BatchFilter
from batchmeter_proxy import Identity, Keyring, Refusal, keyring_of
from batchmeter_proxy.app import escaped_path

from .assets import place
from .words import instant

if TYPE_CHECKING:
    import htpy as h
    from starlette.responses import Response

    from batchmeter.access import TrackedBatch
    from batchmeter.host import PluginHost
    from batchmeter_proxy.call import Call

    from .session import Sessions
    from .settings import PagesSettings

_LARGEST_FORM = 16 * 1024

Show = Callable[["View"], Awaitable["Content | Response"]]
"""`view.ids` holds what the path's braces held."""


class Live(Protocol):
    """Parts of a page by their ids, as they look now; not `whole`: those that change without a new event."""

    async def __call__(self, view: "View", /, *, whole: bool) -> "Mapping[str, h.Node]": ...


@dataclass(frozen=True, slots=True)
class Content:
    """The middle of a page."""

    title: str
    body: "h.Node"
    stream: str = ""
    """Where the page's live updates come from."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One number at the head of a page."""

    name: str
    value: "h.Node"
    note: "h.Node" = None
    bad: bool = False
    """Somebody has to act."""


@dataclass(frozen=True, slots=True)
class Page:
    """One screen."""

    path: str
    """Below `/ui`, such as `/batches/{account}/{id}`; of another plugin's page such as `budgets` or
    `budgets/{name}/edit`."""
    name: str
    """In the list of pages; empty for pages that others lead to."""
    show: Show
    post: Show | None = None
    """A form's answer: a page again, or a redirection."""
    everywhere: bool = False
    """Only for keys that see everybody's batches in every account."""
    live: Live | None = None
    """For a page whose parts follow what happens."""
    tile: "Callable[[View], Awaitable[Tile | None]] | None" = None
    """Of another plugin's page: what the overview shows of it, to those who may see the page."""


@dataclass(slots=True)
class View:
    call: "Call"
    access: Access
    host: "PluginHost"
    settings: "PagesSettings"
    page: "Page"
    pages: "tuple[Page, ...]"
    sessions: "Callable[[], Awaitable[Sessions]]"
    known: bool = False
    """Whether somebody was let in."""
    session: str | None = None
    """The hash of the cookie that let them in; None where a key, or nothing, did."""

    @property
    def identity(self) -> Identity:
        return self.call.identity

    @property
    def ids(self) -> Mapping[str, str]:
        return self.call.ids

    @property
    def base(self) -> str:
        """Where the pages are, below where the proxy is mounted."""
        return f"{quote(str(self.call.request.scope.get('root_path', '')))}/ui"

    async def keyring(self) -> Keyring:
        return await keyring_of(self.call.client)

    def url(self, path: str = "/", /, **query: str | None) -> str:
        given = {name.rstrip("_"): text for name, text in query.items() if text}
        where = self.base + ("" if path == "/" else path)
        return f"{where}?{urlencode(given)}" if given else where

    def batch_url(self, account: str, batch_id: str, more: str = "") -> str:
        return self.url(f"/batches/{quote(account, safe='')}/{quote(batch_id, safe='')}{more}")

    def api_url(self, path: str) -> str:
        """Of the API, which takes no cookie: for people who hold a key."""
        return self.base.removesuffix("/ui") + path

    def asset(self, name: str) -> str:
        return self.url(f"/static/{place(name)}")

    @property
    def here(self) -> str:
        request = self.call.request
        path = quote(str(request.scope.get("root_path", ""))) + escaped_path(request.scope)
        return f"{path}?{request.url.query}" if request.url.query else path

    def query(self, name: str) -> str:
        return self.call.request.query_params.get(name, "").strip()

    async def form(self) -> dict[str, str]:
        """Refusal (400) for a NUL, which no database takes."""
        body = (await self.call.body(_LARGEST_FORM)).decode("utf-8", "replace")
        if "%00" in body or "\0" in body:
            raise Refusal(400, "A NUL cannot be part of a form.", code="invalid_value")
        return {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}

    @property
    def now(self) -> int:
        return self.access.now()

    @property
    def instant(self) -> str:
        return instant(self.now)

    @property
    def who(self) -> str:
        who = self.identity
        if not who.admin:
            return f"{who.attribution.user or who.attribution.key or 'key'} · own batches"
        if who.accounts is None:
            return "admin · all accounts"
        return f"admin · {', '.join(sorted(who.accounts))}"

    async def note(self, what: str, on: str) -> None:
        """Write down what the caller did."""
        await (await self.sessions()).note(self.identity.attribution.key or "", what, on)

    @property
    def may_act(self) -> bool:
        return self.identity.everywhere and not self.settings.read_only

    def check_not_read_only(self) -> None:
        """Refusal (403) where nobody may change anything here."""
        if self.settings.read_only:
            raise Refusal(403, "These pages are read-only: [plugins.ui] read_only = true.", code="read_only")

    def check_may_act(self) -> None:
        """Refusal (403) unless the caller may change something."""
        self.check_not_read_only()
        if not self.identity.everywhere:
            raise Refusal(403, "Use an admin key that is not limited to some accounts.", code="admin_only")

    def sees(self, tracked: "TrackedBatch") -> bool:
        """Whether a batch is the caller's to see."""
        who = self.identity
        allowed = who.accounts is None or tracked.account in who.accounts
        return allowed and who.owns(tracked.submission.attribution)

    def own(self, chosen: BatchFilter | None = None) -> BatchFilter:
        """The filter, less what the caller may not see."""
        chosen = chosen or BatchFilter()
        accounts = chosen.accounts
        if self.identity.accounts is not None:
            mine = tuple(sorted(self.identity.accounts))
            accounts = mine if accounts is None else tuple(one for one in accounts if one in mine)
        key = chosen.key if self.identity.admin else self.identity.attribution.key or ""
        return replace(chosen, accounts=accounts, key=key)
