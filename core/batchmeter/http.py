"""The one place that imports httpx and makes clients: small pools, timeouts, retries, errors passed on whole.

httpx2, httpx's maintained continuation with the same API, is taken where it is installed; `BATCHMETER_HTTP=httpx`
chooses the other. Retries are the official OpenAI SDK's: 408, 409, 429, 5xx and lost connections, twice, `retry-after`
honoured up to 120 s, `x-should-retry` obeyed.
"""

import asyncio
import email.utils
import json
import os
import random
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from . import errors
from ._version import __version__

if TYPE_CHECKING or os.environ.get("BATCHMETER_HTTP", "httpx2") == "httpx":
    import httpx
else:
    try:
        import httpx2 as httpx
    except ImportError:
        import httpx

USER_AGENT = f"batchmeter/{__version__}"
CHUNK = 64 * 1024
"""Bytes handed on at a time: as fast as larger ones, and never a noticeable block of the event loop."""
MAX_RETRY_AFTER = 120.0
_MAX_ERROR_BODY = 1 << 20
_MAX_CONNECTIONS = 16

Retry = Literal["always", "never"]
Headers = Mapping[str, str]

_BY_STATUS: dict[int, type[errors.APIStatusError]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
}


@dataclass(slots=True)
class Response:
    """A whole answer."""

    status_code: int
    headers: Headers
    content: bytes

    def json(self) -> Any:
        """The decoded body; APIResponseError when it is not JSON (a login page, a proxy's HTML)."""
        try:
            return json.loads(self.content)
        except ValueError as error:
            kind = self.headers.get("content-type", "no content-type")
            raise errors.APIResponseError(
                f"expected JSON, got {kind}: {self.content[:120]!r}; is api_base the API's address?"
            ) from error


@dataclass(slots=True)
class StreamedResponse:
    """An answer whose body is still on its way."""

    status_code: int
    headers: Headers
    chunks: AsyncIterator[bytes]

    @property
    def size(self) -> int | None:
        length = self.headers.get("content-length")
        return int(length) if length and "content-encoding" not in self.headers else None


@dataclass(slots=True)
class Body:
    """A request body that streams; `open` gives a fresh pass over it for each try."""

    open: Callable[[], AsyncIterator[bytes]]
    content_type: str
    size: int | None = None
    replayable: bool = True


@dataclass
class HttpClient:
    """One pooled client for one account.

    `auth` is asked before every try (tokens expire). `client` is the user's own httpx or httpx2 AsyncClient, if any;
    it is then not closed here.
    """

    base_url: str
    headers: Headers = field(default_factory=dict[str, str])
    auth: Callable[[], Awaitable[Headers]] | None = None
    timeout: float = 600.0
    max_retries: int = 2
    client: Any = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _own: "httpx.AsyncClient | None" = field(default=None, init=False, repr=False)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json_body: object = None,
        body: Body | None = None,
        headers: Headers | None = None,
        timeout: float | None = None,
        retry: Retry = "always",
    ) -> Response:
        """Send and read the whole answer; raises the error of its status, APIConnectionError or APITimeoutError."""
        async with self._send(method, path, params, json_body, body, headers, timeout, retry) as response:
            content = await self._guard(response.aread())
            return Response(response.status_code, _lower(response.headers), content)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Headers | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Send and hand on the body in chunks, content-encoding undone; a body that breaks off raises."""
        async with self._send(method, path, params, None, None, headers, timeout, "always") as response:
            yield StreamedResponse(response.status_code, _lower(response.headers), self._chunks(response))

    async def aclose(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()

    def _httpx(self) -> "httpx.AsyncClient":
        if self.client is not None:
            return self.client  # type: ignore[no-any-return]  # httpx or httpx2, by duck typing
        if self._own is None:
            self._own = httpx.AsyncClient(
                timeout=httpx.Timeout(self.timeout, connect=5.0),
                limits=httpx.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=_MAX_CONNECTIONS),
            )
        return self._own

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        json_body: object,
        body: Body | None,
        headers: Headers | None,
        timeout: float | None,
        retry: Retry,
    ) -> AsyncGenerator["httpx.Response"]:
        retries = 0 if retry == "never" or (body is not None and not body.replayable) else self.max_retries
        for attempt in range(retries + 1):
            last = attempt == retries
            try:
                request = await self._build(method, path, params, json_body, body, headers, timeout)
                response = await self._guard(self._httpx().send(request, stream=True))
            except errors.APIConnectionError:
                if last:
                    raise
                await self.sleep(_backoff(attempt, None))
                continue
            try:
                if response.status_code < 400:  # noqa: PLR2004 - HTTP's own line between answers and errors
                    yield response
                    return
                error = await self._status_error(response)
            finally:
                await response.aclose()
            delay = _retry_delay(error, attempt)
            if last or delay is None:
                raise error
            await self.sleep(delay)

    async def _build(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        json_body: object,
        body: Body | None,
        headers: Headers | None,
        timeout: float | None,
    ) -> "httpx.Request":
        merged = {"user-agent": USER_AGENT, "accept": "application/json", **_lower(self.headers)}
        if self.auth is not None:
            merged.update(_lower(await self.auth()))
        content: Any = None
        if body is not None:
            merged["content-type"] = body.content_type
            if body.size is not None:
                merged["content-length"] = str(body.size)
            content = body.open()
        elif json_body is not None:
            merged["content-type"] = "application/json"
            content = json.dumps(json_body, ensure_ascii=False, separators=(",", ":")).encode()
        merged.update(_lower(headers or {}))
        url = path if "://" in path else f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"
        chosen = {key: value for key, value in (params or {}).items() if value is not None}
        return self._httpx().build_request(
            method,
            url,
            params=chosen or None,
            content=content,
            headers=merged,
            timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout, connect=min(timeout, 5.0)),
        )

    async def _status_error(self, response: "httpx.Response") -> errors.APIStatusError:
        parts: list[bytes] = []
        size = 0
        async for chunk in self._chunks(response):
            parts.append(chunk)
            size += len(chunk)
            if size > _MAX_ERROR_BODY:
                break
        return status_error(response.status_code, _lower(response.headers), b"".join(parts), where=self._where())

    async def _chunks(self, response: "httpx.Response") -> AsyncIterator[bytes]:
        stream = response.aiter_bytes(CHUNK)
        while True:
            try:
                chunk = await self._guard(anext(stream))
            except StopAsyncIteration:
                return
            yield chunk

    async def _guard(self, call: Awaitable[Any]) -> Any:
        """httpx's transport errors become ours; what a body generator raises passes through."""
        try:
            return await call
        except httpx.TimeoutException as error:
            kind = type(error).__name__
            raise errors.APITimeoutError(f"{self._where()} did not answer in time ({kind})") from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise errors.APIConnectionError(f"{self._where()}: {type(error).__name__}: {error}") from error

    def _where(self) -> str:
        return redact_url(self.base_url)


def status_error(status: int, headers: Headers, content: bytes, *, where: str) -> errors.APIStatusError:
    """The exception for an error answer, with everything the provider sent."""
    body: object
    try:
        body = json.loads(content)
    except ValueError:
        body = content.decode("utf-8", "replace")
    fallback = errors.InternalServerError if status >= 500 else errors.APIStatusError  # noqa: PLR2004 - 5xx
    cls = _BY_STATUS.get(status, fallback)
    return cls(
        f"{where} answered {status}: {error_message(body) or 'no message'}",
        status_code=status,
        body=body,
        content=content,
        headers=headers,
    )


def error_message(body: object) -> str | None:
    """The human part of an error body: OpenAI's, Google's and Anthropic's `error.message`, Mistral's `detail`, text."""
    if not isinstance(body, dict):
        return str(body)[:500] if body else None
    whole = cast("dict[str, object]", body)
    error = whole.get("error", whole)
    if not isinstance(error, dict):
        return str(error)
    inner = cast("dict[str, object]", error)
    found = inner.get("message") or inner.get("detail")
    return None if found is None else str(found)


def retry_after_seconds(headers: Headers) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or an HTTP date)."""
    millis = headers.get("retry-after-ms")
    text = headers.get("retry-after")
    try:
        if millis:
            return max(0.0, float(millis) / 1000)
        if text:
            return max(0.0, float(text))
    except ValueError:
        when = email.utils.parsedate_tz(text or "")
        if when is not None:
            return max(0.0, email.utils.mktime_tz(when) - time.time())
    return None


def redact_url(url: str) -> str:
    """A URL that may be shown: no user, password, query or fragment."""
    scheme, separator, rest = url.partition("://")
    host = rest.split("?", 1)[0].split("#", 1)[0].rsplit("@", 1)[-1]
    return f"{scheme}{separator}{host}".rstrip("/")


def multipart(fields: Mapping[str, str], filename: str, content_type: str, body: Body) -> Body:
    """A form with one file, streamed; fields come first, as the SDKs send them."""
    boundary = secrets.token_hex(16)
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quote(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quote(filename)}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    start, end = head.encode(), f"\r\n--{boundary}--\r\n".encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield start
        async for chunk in body.open():
            yield chunk
        yield end

    size = None if body.size is None else len(start) + body.size + len(end)
    return Body(chunks, f"multipart/form-data; boundary={boundary}", size, body.replayable)


def _quote(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _lower(headers: Any) -> dict[str, str]:
    return {str(key).lower(): str(value) for key, value in headers.items()}


def _retry_delay(error: errors.APIStatusError, attempt: int) -> float | None:
    """Seconds until the next try; None: do not retry."""
    said = error.headers.get("x-should-retry")
    if said == "false" or error.code == "insufficient_quota":
        return None
    if said != "true" and error.status_code not in (408, 409, 429) and error.status_code < 500:  # noqa: PLR2004 - 5xx
        return None
    wait = error.retry_after
    if wait is not None and wait > MAX_RETRY_AFTER:
        return None
    return _backoff(attempt, wait)


def _backoff(attempt: int, wait: float | None) -> float:
    if wait:
        return wait
    return min(0.5 * 2.0**attempt, 8.0) * (1 - 0.25 * random.random())  # noqa: S311 - jitter, not a secret
