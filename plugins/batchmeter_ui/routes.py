"""Routes of the pages: they find out who asks, and give every answer the security headers."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import htpy as h
from starlette.responses import RedirectResponse, Response

from batchmeter.access import access_of
from batchmeter.errors import BatchmeterError, LedgerError
from batchmeter_proxy import Action, Refusal, Route
from batchmeter_proxy.app import check_text
from batchmeter_proxy.auth import identity_of
from batchmeter_proxy.errors import log, refusal_of

from .assets import TYPES, compressed, content, place
from .live import ENDED, stream
from .page import document
from .pages import PAGES
from .pages.login import ENTER, LINKS, LOGIN, LOGOUT
from .session import Sessions, Tries, digest_of, same_origin
from .view import Content, Page, View

if TYPE_CHECKING:
    from batchmeter.host import PluginHost
    from batchmeter_proxy.call import Call

    from .settings import PagesSettings
    from .streams import Streams

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-store",
}
_BUILT_IN = frozenset(page.path for page in PAGES)
_FOREVER = "public, max-age=31536000, immutable"

Handler = Callable[["Call"], Awaitable[Response]]


class Server:
    """State that all pages of one client share."""

    def __init__(
        self, settings: "PagesSettings", streams: "Streams", started: "Callable[[], PluginHost | None]"
    ) -> None:
        self._settings = settings
        self._started = started
        self._sessions: Sessions | None = None
        self.tries = Tries()
        self.streams = streams

    async def sessions(self) -> Sessions:
        if self._sessions is None:
            self._sessions = await Sessions.open(self._host)
        return self._sessions

    @property
    def _host(self) -> "PluginHost":
        """Refusal (503) where the plugin has not started."""
        host = self._started()
        if host is None:
            raise Refusal(503, "The pages have not started: the log says why.", code="ui_not_started")
        return host

    async def view(self, call: "Call", page: Page) -> View:
        host = self._host
        access = await access_of(call.client)
        added: list[Page] = []
        host.call_hook("register_pages", register=added.append)
        more = [replace(one, path=f"/{one.path.strip('/')}") for one in added]
        for one in more:
            if one.path in _BUILT_IN:
                log.error("a plugin's page at /ui%s is not shown: there is one already", one.path)
        return View(call, access, host, self._settings, page, (*PAGES, *more), self.sessions)

    async def admit(self, view: View) -> None:
        """Refusal (401) for who has no good key; else the view is theirs."""
        await self.identify(view)
        await view.call.admit(Action("request"))

    async def identify(self, view: View) -> None:
        """The same without counting a request."""
        call = view.call
        try:
            call.identity = await call.state.authenticate(call.request)
        except Refusal as refusal:
            digest = digest_of(call.request)
            secret = None if digest is None or refusal.status != 401 else await (await self.sessions()).find(digest)  # noqa: PLR2004
            if secret is None:
                raise
            call.identity = identity_of(await (await view.keyring()).find_key(secret), view.now)
            view.session = digest
        view.known = True


def routes(settings: "PagesSettings", streams: "Streams", started: "Callable[[], PluginHost | None]") -> list[Route]:
    """`started` gives the host once the plugin has one."""
    server = Server(settings, streams, started)
    shown = [route for page in PAGES for route in _routes_of(server, page)]
    return [
        *shown,
        _route("GET", "/ui/login", _open(server, LOGIN), "Log in to the pages"),
        _route("POST", "/ui/login", _posting(server, LOGIN), "Log in to the pages"),
        _route("GET", "/ui/enter", _open(server, ENTER), "Log in to the pages by a link"),
        _route("POST", "/ui/links", _link(server), "A link to log in by"),
        _route("POST", "/ui/logout", _posting(server, LOGOUT), "Log out of the pages"),
        *(_live_route(server, page) for page in PAGES if page.live is not None),
        _route("GET", "/ui/static/{digest}/{name}", _asset, "A part of the pages"),
        _route("GET", "/", _root, "The pages, for a browser"),
        *_routes_of(server, _ELSEWHERE),
    ]


def _route(method: str, path: str, handler: Handler, summary: str) -> Route:
    return Route(method, path, handler, summary, versioned=False, public=True, described=False)


def _routes_of(server: Server, page: Page) -> list[Route]:
    path = "/ui" if page.path == "/" else f"/ui{page.path}"
    title = page.name or "A page"
    found = [_route("GET", path, _shown(server, page), title)]
    if page.post is not None or page is _ELSEWHERE:
        found.append(_route("POST", path, _shown(server, page, post=True), title))
    return found


def _shown(server: Server, page: Page, *, post: bool = False) -> Handler:
    async def work(view: View) -> "Content | Response":
        if post and not same_origin(view.call.request.headers):
            raise Refusal(403, "This form was not sent by these pages.", code="cross_site")
        await server.admit(view)
        if view.ids.get("rest", "").startswith("x/"):  # where plugins' pages were
            return RedirectResponse(view.here.replace("/ui/x", "/ui", 1), 308)
        chosen = _chosen(view)
        if chosen.everywhere and not view.identity.everywhere:
            raise Refusal(403, "Only an admin key that is not limited to some accounts sees this.", code="admin_only")
        show = chosen.post if post else chosen.show
        if show is None:
            raise Refusal(405, "This page takes no form.", code="method_not_allowed")
        return await show(view)

    return _answering(server, page, work)


def _live_route(server: Server, page: Page) -> Route:
    async def work(view: View) -> Response:
        await server.identify(view)
        return await stream(view, server.streams, server.identify)

    path = "/ui/live" if page.path == "/" else f"/ui/live{page.path}"
    return _route("GET", path, _answering(server, page, work), "What changes on a page")


def _chosen(view: View) -> Page:
    """The page itself; at any other place the one that a plugin added there, an exact path before one with braces."""
    if view.page is not _ELSEWHERE:
        return view.page
    parts = ["", *map(unquote, view.ids["rest"].split("/"))]
    fitting = [(found, one) for one in view.pages if (found := _fit(one.path.split("/"), parts)) is not None]
    if not fitting:
        raise Refusal(404, "There is no such page.")
    view.call.ids, view.page = min(fitting, key=lambda pair: len(pair[0]))
    return view.page


def _fit(template: Sequence[str], parts: Sequence[str]) -> dict[str, str] | None:
    """The values of its braces; None where the path is another's."""
    if len(template) != len(parts):
        return None
    pairs = list(zip(template, parts, strict=True))
    if any(name != text and not name.startswith("{") for name, text in pairs):
        return None
    return {name[1:-1]: text for name, text in pairs if name.startswith("{")}


def _open(server: Server, page: Page) -> Handler:
    async def work(view: View) -> "Content | Response":
        return await page.show(view)

    return _answering(server, page, work)


def _link(server: Server) -> Handler:
    """Of the API's kind: a key in a header, which no web page from elsewhere can send."""

    async def work(view: View) -> "Content | Response":
        view.call.identity = await view.call.state.authenticate(view.call.request)
        assert LINKS.post is not None
        return await LINKS.post(view)

    return _answering(server, LINKS, work)


def _posting(server: Server, page: Page) -> Handler:
    async def work(view: View) -> "Content | Response":
        if not same_origin(view.call.request.headers):
            raise Refusal(403, "This form was not sent by these pages.", code="cross_site")
        client = view.call.request.client
        if page is LOGIN:
            server.tries.check("" if client is None else client.host)
        view.session = digest_of(view.call.request)
        assert page.post is not None
        return await page.post(view)

    return _answering(server, page, work)


def _answering(server: Server, page: Page, work: "Callable[[View], Awaitable[Content | Response]]") -> Handler:
    async def handler(call: "Call") -> Response:
        view: View | None = None
        try:
            view = await server.view(call, page)
            check_text(call.request.scope)
            found = await work(view)
            response = document(view, found) if isinstance(found, Content) else found
        except (Refusal, BatchmeterError) as error:
            response = _refused(call, view, error)
        for name, text in HEADERS.items():
            response.headers.setdefault(name, text)
        return response

    return handler


def _refused(call: "Call", view: View | None, error: Exception) -> Response:
    refusal = error if isinstance(error, Refusal) else _refusal_of(error)
    if view is None:
        return Response(refusal.message, refusal.status, media_type="text/plain")
    if "text/event-stream" in call.request.headers.get("accept", "") and refusal.status == 401:  # noqa: PLR2004
        return Response(ENDED, media_type="text/event-stream")  # or the browser would ask again for ever
    if refusal.status == 401 and call.request.method == "GET" and view.page is not LOGIN:  # noqa: PLR2004
        here = view.here.removeprefix(view.base)
        return RedirectResponse(view.url("/login", next=here if here.startswith("/") else None), 303)
    response = document(view, Content("Not shown", h.p(".problem", role="alert")[refusal.message]))
    response.status_code = refusal.status
    for name in ("retry-after",):
        if name in refusal.headers:
            response.headers[name] = refusal.headers[name]
    return response


def _refusal_of(error: Exception) -> Refusal:
    if isinstance(error, LedgerError):
        return Refusal(503, f"The ledger does not answer: {error}", code="ledger_unavailable")
    log.warning("a page failed: %s", error)
    return refusal_of(error) or Refusal(502, str(error))


async def _missing(view: View) -> "Content | Response":
    del view
    raise Refusal(404, "There is no such page.")


_ELSEWHERE = Page("/{rest:path}", "", _missing)
"""Any place that no page of ours has: another plugin's, or none."""


async def _asset(call: "Call") -> Response:
    name = call.ids["name"]
    if name not in TYPES or place(name) != f"{call.ids['digest']}/{name}":
        raise Refusal(404, "There is no such file.")
    headers: dict[str, Any] = {**HEADERS, "cache-control": _FOREVER, "vary": "accept-encoding"}
    if "gzip" in call.request.headers.get("accept-encoding", ""):
        return Response(compressed(name), headers=headers | {"content-encoding": "gzip"}, media_type=TYPES[name])
    return Response(content(name), headers=headers, media_type=TYPES[name])


async def _root(call: "Call") -> Response:
    """Browsers ask for HTML first; API clients that ask for `/` still hear that there is nothing."""
    if "text/html" not in call.request.headers.get("accept", ""):
        raise Refusal(404, "Invalid URL (GET /)", code="unknown_url")
    root = str(call.request.scope.get("root_path", ""))
    return RedirectResponse(f"{root}/ui", 303, HEADERS)
