"""The proxy as an ASGI application: alone behind any server, or mounted in an app of yours."""

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from batchmeter import AsyncClient, __version__
from batchmeter.errors import LedgerError
from batchmeter.http import AnswerHead, noted_answers

from . import batches, costs, docs_page, files, openapi, status, webhooks
from .access_log import access, access_line
from .auth import Keys
from .call import Call
from .errors import Refusal, error_response, kept, request_id
from .identity import ANONYMOUS, Action, Admit, Authenticate, anything
from .options import ProxyOptions
from .read_cache import Reads
from .routes import Found, Route, Table
from .state import State
from .transfers import Places, Shares, Transfers

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

log = logging.getLogger("batchmeter")

GONE = 499
"""As nginx has it: the client did not wait for its answer. Seen in metrics only."""

ROUTES: tuple[Route, ...] = (
    *files.ROUTES,
    *batches.ROUTES,
    *costs.ROUTES,
    *webhooks.ROUTES,
    *status.ROUTES,
    *docs_page.ROUTES,
    *openapi.ROUTES,
)


def create_app(
    client: AsyncClient | None = None,
    *,
    authenticate: Authenticate | None = None,
    admit: Admit | None = None,
    routes: Sequence[Route] = ROUTES,
) -> "Proxy":
    """The ASGI app over `client`, or over one made from batchmeter.toml and the environment.

    Served on its own, it opens the client and closes it again. Mounted in another app, whose server tells only that
    one of start and end, it opens the client at the first request, and closing it is yours.

    `authenticate` is an app's own way to tell who asks; without it, the ledger's keys do, and their limits hold.
    """
    client = client or AsyncClient()
    if authenticate is None:
        keys = Keys(client)
        authenticate, admit = keys.authenticate, admit or keys.admit
    return Proxy(client, authenticate, admit or anything, routes)


class Proxy:
    """Files and batches of every account, in OpenAI's words."""

    def __init__(
        self, client: AsyncClient, authenticate: Authenticate, admit: Admit, routes: Sequence[Route] = ROUTES
    ) -> None:
        self.client = client
        options = client.section("proxy", ProxyOptions)
        transfers = Transfers(options.transfers, options.transfers_per_key, options.transfer_wait_seconds)
        reads, webhook_places = Reads(client, options.freshness), Places(options.webhook_bodies)
        calls = Shares(options.calls_per_key, options.transfer_wait_seconds, "calls", "too_many_calls")
        self.state = State(client, authenticate, admit, options, reads, transfers, calls, webhook_places)
        self.state.metrics.gathers = client.plugins.collect("register_metrics")
        self.table = Table([*routes, *client.plugins.collect("register_routes")])
        description = cache(lambda: openapi.document(self.table.routes))
        self.state.openapi = cache(lambda: json.dumps(description(), ensure_ascii=False).encode())
        self.state.docs = cache(lambda: docs_page.docs_page(description()))

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._http(Request(scope, receive), send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, request: Request, send: "Send") -> None:
        started, status = time.perf_counter(), GONE
        try:
            status = await self._respond(request, send)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(request.state, "route", None)
            self.state.traffic.count(request.method, route, status, seconds)
            if access.isEnabledFor(logging.INFO):
                access.info("%s", access_line(request, status, seconds))

    async def _respond(self, request: Request, send: "Send") -> int:
        """The status that was sent."""
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return GONE
        except Exception as error:  # noqa: BLE001 - every failure gets an answer in OpenAI's envelope
            response = error_response(error)
        if request.method == "HEAD":
            response.body = b""
        response.headers.setdefault("x-request-id", request_id())
        response.headers.setdefault("x-batchmeter", __version__)  # an observed client leaves it to us to meter
        if not getattr(request.state, "known", False):
            response.headers["connection"] = "close"  # the places are for those who have a key
        await response(request.scope, request.receive, send)
        return response.status_code

    async def _answer(self, request: Request) -> Response:
        path = escaped_path(request.scope)
        self._check_headers(request.scope)
        found = self.table.find(request.method, path)
        if found.route.described:  # a page for people says it as a page
            check_text(request.scope)
        request.state.route = found.route.path
        await self.client.ready()
        call = await self._call(request, found)
        try:
            with noted_answers() as heads:
                async with call.share(transfer=found.route.transfer):
                    response = await found.route.handler(call)
        finally:
            await _finish(call)
        if heads:
            _pass_on(heads, response)
        return response

    def _check_headers(self, scope: "Scope") -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self.state.options.max_header_bytes:
            message = f"The request's headers are larger than {self.state.options.max_header_bytes:,} bytes."
            raise Refusal(431, message, code="headers_too_large")

    async def _call(self, request: Request, found: Found) -> Call:
        if found.route.public:
            return Call(request, self.state, ANONYMOUS, found.ids, found.account)
        identity = await self.state.authenticate(request)
        request.state.key, request.state.known = identity.attribution.key, True
        await self.state.admit(identity, Action("request"))
        return Call(request, self.state, identity, found.ids, _account(request, found))

    async def _live(self, receive: "Receive", send: "Send") -> None:
        """The client is open from start to end of the server, unless its owner had opened it."""
        await receive()
        mine = not self.client.is_open
        try:
            await self.client.open()
        except Exception as error:
            log.exception("the proxy cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.state.reads.aclose()
        if mine:
            await self.client.aclose()
        await send({"type": "lifespan.shutdown.complete"})


def _account(request: Request, found: Found) -> str | None:
    """Azure's newest clients put `/openai/v1` behind every address: then it names no account."""
    of_azure = not found.azure and ("api-key" in request.headers or "api-version" in request.query_params)
    return None if found.account == "openai" and of_azure else found.account


async def _finish(call: Call) -> None:
    """Do the work that waited for the end of the request. A ledger that is away then spoils no answer: leases run out."""
    for done in call.done:
        try:
            await asyncio.shield(done(not call.in_vain))
        except LedgerError:
            log.exception("what a request had taken of its key's limits could not be given back")


def _pass_on(heads: Sequence[AnswerHead], response: Response) -> None:
    """The provider's own headers, and its status for what was made: Azure answers an upload with 201."""
    last = heads[-1]
    for name, text in kept(last.headers).items():
        response.headers.setdefault(name, text)
    if last.method == "POST" and response.status_code == 200:  # noqa: PLR2004 - any success
        response.status_code = last.status_code


def check_text(scope: "Scope") -> None:
    """Refusal (400) for what no database takes."""
    if "%00" in escaped_path(scope) or b"%00" in scope["query_string"]:
        raise Refusal(400, "A NUL cannot be part of a path or query.", code="invalid_value")


def escaped_path(scope: "Scope") -> str:
    """The path below where the app is mounted, as it was sent: `%2F` in an id is not a slash."""
    raw: Any = scope.get("raw_path")
    path = raw.partition(b"?")[0].decode("latin-1") if raw else quote(str(scope["path"]))
    root = quote(str(scope.get("root_path", "")))
    return path[len(root) :] if root and path.startswith(root) else path
