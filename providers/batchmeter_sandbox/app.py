"""OpenAI's routes over the engine: what each request is answered with, whatever carries it."""

import hmac
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from .answers import ENDPOINTS
from .engine import Engine
from .form import Form
from .refusal import Dropped, Refusal
from .script import FAULT_HEADER, SCRIPT_HEADER

log = logging.getLogger(__name__)

_MAX_JSON = 64 * 1024 * 1024


@dataclass(slots=True)
class Request:
    """Header names in lower case; the body comes as it arrives."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]

    async def json(self) -> dict[str, Any]:
        raw = bytearray()
        async for chunk in self.body:
            raw += chunk
            if len(raw) > _MAX_JSON:
                raise Refusal(413, "The request body is too large.", code="request_too_large")
        try:
            parsed: object = json.loads(raw or b"{}")
        except ValueError as error:
            raise Refusal(400, f"We could not parse the JSON body of your request: {error}") from error
        if not isinstance(parsed, dict):
            raise Refusal(400, "The JSON body of your request has to be an object.")
        return cast("dict[str, Any]", parsed)


@dataclass(slots=True)
class Response:
    """A body of known size, whole or in chunks."""

    status: int
    body: bytes | AsyncIterator[bytes]
    size: int
    headers: dict[str, str] = field(default_factory=dict[str, str])
    content_type: str = "application/json"


Handler = Callable[["App", Request, str], Awaitable[Response]]


@dataclass(slots=True)
class App:
    """`api_key` None accepts any key."""

    engine: Engine
    api_key: str | None = None

    async def __call__(self, request: Request) -> Response:
        """Dropped means: break the connection."""
        try:
            response = await self._answer(request)
        except Refusal as refusal:
            response = json_response(refusal.body, refusal.status)
            response.headers |= refusal.headers
        except (Dropped, ConnectionError):
            raise
        except Exception:
            log.exception("sandbox: %s %s failed", request.method, request.path)
            response = json_response(Refusal(500, "The sandbox failed; its log says how.", "server_error").body, 500)
        response.headers |= {
            "x-request-id": f"req_{secrets.token_hex(16)}",
            "openai-version": "2020-10-01",
            "openai-processing-ms": "1",
        }
        return response

    async def _answer(self, request: Request) -> Response:
        self._authenticate(request)
        with self.engine.faults.during(request.method, request.path, request.headers.get(FAULT_HEADER)):
            handler, argument = _route(request)
            return await handler(self, request, argument)

    def _authenticate(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            message = "You didn't provide an API key. Send it as a header: Authorization: Bearer YOUR_KEY."
            raise Refusal(401, message)
        if self.api_key is not None and not hmac.compare_digest(key.encode(), self.api_key.encode()):
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")

    async def upload(self, request: Request, argument: str) -> Response:
        del argument
        form = Form(request.headers.get("content-type", ""), self.engine.files.receive)
        try:
            async for chunk in request.body:
                form.feed(chunk)
            made = form.close().finish(form.fields.get("purpose"), form.expires_after())
        except BaseException:
            if form.file is not None:
                form.file.abandon()
            raise
        return json_response(made)

    async def list_files(self, request: Request, argument: str) -> Response:
        del argument
        wanted = {name: request.query.get(name) for name in ("purpose", "after", "limit", "order")}
        return json_response(await self.engine.files.list(**wanted))

    async def retrieve_file(self, request: Request, file_id: str) -> Response:
        del request
        return json_response(await self.engine.files.retrieve(file_id))

    async def delete_file(self, request: Request, file_id: str) -> Response:
        del request
        return json_response(await self.engine.files.delete(file_id))

    async def content(self, request: Request, file_id: str) -> Response:
        del request
        content = await self.engine.files.content(file_id)
        return Response(200, content.chunks(), content.size, content_type="application/octet-stream")

    async def create_batch(self, request: Request, argument: str) -> Response:
        del argument
        script = request.headers.get(SCRIPT_HEADER)
        return json_response(await self.engine.batches.create(await request.json(), script))

    async def list_batches(self, request: Request, argument: str) -> Response:
        del argument
        return json_response(await self.engine.batches.list(request.query.get("after"), request.query.get("limit")))

    async def retrieve_batch(self, request: Request, batch_id: str) -> Response:
        del request
        return json_response(await self.engine.batches.retrieve(batch_id))

    async def cancel_batch(self, request: Request, batch_id: str) -> Response:
        del request
        return json_response(await self.engine.batches.cancel(batch_id))

    async def call(self, request: Request, endpoint: str) -> Response:
        """One request outside a batch."""
        return json_response(self.engine.answer(f"/v1/{endpoint}", await request.json()))

    async def add_fault(self, request: Request, argument: str) -> Response:
        """For tests in another process: `{"fault": "rate_limit*2 POST /v1/batches retry_after=0.1"}`."""
        del argument
        self.engine.faults.add(str((await request.json()).get("fault", "")))
        return json_response({"added": True})

    async def totals(self, request: Request, batch_id: str) -> Response:
        """For tests in another process: the exact sums of a batch."""
        del request
        totals = asdict(await self.engine.totals(batch_id))
        return json_response(json.loads(json.dumps(totals, default=lambda usage: usage.model_dump())))


_CALLS = "|".join(sorted(endpoint.removeprefix("/v1/") for endpoint in ENDPOINTS))
_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", r"/v1/files", App.upload),
    ("GET", r"/v1/files", App.list_files),
    ("GET", r"/v1/files/([^/]+)", App.retrieve_file),
    ("DELETE", r"/v1/files/([^/]+)", App.delete_file),
    ("GET", r"/v1/files/([^/]+)/content", App.content),
    ("POST", r"/v1/batches", App.create_batch),
    ("GET", r"/v1/batches", App.list_batches),
    ("GET", r"/v1/batches/([^/]+)", App.retrieve_batch),
    ("POST", r"/v1/batches/([^/]+)/cancel", App.cancel_batch),
    ("POST", rf"/v1/({_CALLS})", App.call),
    ("POST", r"/sandbox/faults", App.add_fault),
    ("GET", r"/sandbox/totals/([^/]+)", App.totals),
)
_TABLE = [(method, re.compile(pattern), handler) for method, pattern, handler in _ROUTES]


def _route(request: Request) -> tuple[Handler, str]:
    allowed: list[str] = []
    for method, pattern, handler in _TABLE:
        if match := pattern.fullmatch(request.path):
            if method == request.method:
                return handler, match.group(1) if match.groups() else ""
            allowed.append(method)
    if allowed:
        message = f"Not allowed to {request.method} on {request.path}."
        raise Refusal(405, message, headers={"allow": ", ".join(allowed)})
    raise Refusal(404, f"Invalid URL ({request.method} {request.path})", code="unknown_url")


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(status, raw, len(raw))
