"""A pooled client with timeouts and retries for one account, over httpx2, httpx or the caller's own client of either."""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from batchmeter import __version__, errors
from batchmeter.web import note, origin_of, redact_url

from .failure import quotable, status_error, transport_error, without_secrets
from .library import CALLS, TRANSFERS, open_client, redacted_log
from .messages import Body, BodyFailedError, Headers, Pass, Response, StreamedResponse, as_json, decompressed

if TYPE_CHECKING:
    import httpx

USER_AGENT = f"batchmeter/{__version__}"
_CONNECT_TIMEOUT = 5.0
_MAX_ERROR_BODY = 1 << 20
MAX_ANSWER = 16 << 20
"""Bytes of an answer that is held whole: the longest lists are a fifth of it."""
MAX_DOWNLOAD = 64 << 30
"""Bytes of a streamed body: no vendor's file is as large, and an endless one has to end."""
_ERROR_SECONDS = 30.0
_MB = 1 << 20
_MAX_REDIRECTS = 5
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FOR_STRANGERS = frozenset({"accept", "accept-encoding", "range", "user-agent"})
"""Headers that follow a redirect to another origin: none that could hold a key."""
Retry = Literal["always", "never", "create"]
"""`create`: sent once, and over a new connection: a server may just be closing one that is idle, and the answer is lost."""
MAX_RETRY_AFTER = 120.0
"""Seconds; a provider that asks for more is not asked again."""
_STATUSES = frozenset({408, 409, 429, *range(500, 600)})


@dataclass(frozen=True, slots=True)
class Call:
    """One request, before it is built for a try."""

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    json_body: object = None
    body: Body | None = None
    headers: Headers | None = None
    timeout: float | None = None
    retry: Retry = "always"
    read: bool = True
    """The whole answer is read within the try, so that one that breaks off is tried again."""
    moved: bool = False
    """A redirect is an answer like others, for whoever reads its `location`."""

    @property
    def transfer(self) -> bool:
        """A file goes one way or the other."""
        return self.body is not None or not self.read


@dataclass(repr=False)
class HttpClient:
    """One client for one account. Files have a pool of their own: however slow they are, short calls find a connection.

    `auth` is asked before every try (tokens expire), and `sign`, which gives headers too, with the request as it will be
    sent, for signatures. `params` go with every request. `client` is the user's own httpx
    or httpx2 AsyncClient, if any; it is then not closed here. `secrets`, and credentials in headers, are blanked where
    an error would quote a server that repeats them. Headers, `auth` and `params` go to the host of `base_url` and to
    no other, whatever an answer says.
    """

    base_url: str
    headers: Headers = field(default_factory=dict[str, str])
    auth: Callable[[], Awaitable[Headers]] | None = field(default=None)
    sign: "Callable[[httpx.Request], Awaitable[Headers]] | None" = field(default=None)
    timeout: float = 600.0
    max_retries: int = 2
    client: Any = field(default=None)
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    secrets: Collection[str] = field(default=())
    max_answer: int = MAX_ANSWER
    max_download: int = MAX_DOWNLOAD
    _own: "dict[tuple[int, bool], httpx.AsyncClient]" = field(
        default_factory=dict[tuple[int, bool], "httpx.AsyncClient"], init=False
    )
    """By the size of the pool, and whether each request has a new connection."""
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _under_way: int = field(default=0, init=False)
    _left: "list[httpx.AsyncClient]" = field(default_factory=list["httpx.AsyncClient"], init=False)
    """Closed, as soon as nothing is under way."""

    def __repr__(self) -> str:
        return f"HttpClient({self._where()!r})"

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
        moved: bool = False,
    ) -> Response:
        """Send and read the whole answer; raises the error of its status, APIConnectionError or APITimeoutError.

        `moved`: a redirect is no error, and is not followed; the caller reads its `location`.
        """
        call = Call(method, path, params, json_body, body, headers, timeout, retry, moved=moved)
        async with self._send(call) as (response, content):
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
        call = Call(method, path, params, headers=headers, timeout=timeout, read=False)
        async with self._send(call) as (response, _), aclosing(self._chunks(response, self.max_download)) as chunks:
            yield StreamedResponse(response.status_code, _lower(response.headers), chunks)

    async def aclose(self) -> None:
        """Close once the calls under way are done."""
        own, self._own = self._own, {}
        self._left += own.values()
        while self._left and not self._under_way:
            await self._left.pop().aclose()

    @asynccontextmanager
    async def _send(self, call: Call) -> AsyncGenerator["tuple[httpx.Response, bytes]"]:
        """An answer below 400 and, where `call.read`, its body; its connection is given back at the end."""
        self._under_way += 1
        try:
            response, content = await self._tries(call)
            try:
                yield response, content
            finally:
                await response.aclose()
        except BodyFailedError as failed:
            raise failed.cause from None
        finally:
            self._under_way -= 1
            while self._left and not self._under_way:
                await self._left.pop().aclose()

    async def _tries(self, call: Call) -> "tuple[httpx.Response, bytes]":
        once = call.retry != "always" or (call.body is not None and not call.body.replayable)
        for attempt in range(0 if once else self.max_retries):
            try:
                return await self._try(call)
            except errors.APIStatusError as error:
                delay = retry_delay(error, attempt)
                if delay is None:
                    raise
            except errors.APIConnectionError:
                delay = backoff(attempt)
            await self.sleep(delay)
        return await self._try(call)

    async def _try(self, call: Call) -> "tuple[httpx.Response, bytes]":
        headers = await self._headers(call)
        response = await self._answer(call, headers)
        try:
            content = await self._accept(call, response, headers)
        except BaseException:
            await response.aclose()
            raise
        note(call.method, response.status_code, response.headers.items())
        return response, content

    async def _accept(self, call: Call, response: "httpx.Response", sent: Headers) -> bytes:
        if response.status_code >= 400:  # noqa: PLR2004 - HTTP's own line between answers and errors
            raise await self._status_error(response, sent)
        if response.has_redirect_location and not call.moved:
            target = without_secrets(redact_url(response.headers["location"]).encode(), sent, self.secrets).decode()
            raise errors.APIResponseError(
                f"{self._where()} redirects to {target}; set api_base to the API's own address"
            )
        return await self._whole(response, self._seconds(call)) if call.read else b""

    async def _whole(self, response: "httpx.Response", seconds: float) -> bytes:
        """The body, within `max_answer` bytes and within `seconds` from here, however slowly it trickles."""
        try:
            async with asyncio.timeout(seconds), aclosing(self._chunks(response, self.max_answer)) as chunks:
                return b"".join([chunk async for chunk in chunks])
        except TimeoutError:
            raise errors.APITimeoutError(
                f"{self._where()} did not come to the end of its answer in {seconds:g} s"
            ) from None

    async def _answer(self, call: Call, headers: Headers) -> "httpx.Response":
        """The answer; redirects of a GET are followed, to any host but the account's own as a stranger."""
        client = await self._client(TRANSFERS if call.transfer else CALLS, fresh=call.retry == "create")
        response = await self._exchange(client, call, headers)
        for _ in range(_MAX_REDIRECTS):
            target = response.next_request
            if call.method != "GET" or target is None:
                break
            await response.aclose()
            url = str(target.url)
            self._check_redirect(str(response.request.url), url)
            if self._is_own(url):
                moved = Call("GET", url, timeout=call.timeout)
                response = await self._exchange(client, moved, headers, {})
            else:
                response = await self._as_stranger(client, response.request, url, headers)
        return response

    def _check_redirect(self, source: str, target: str) -> None:
        scheme = origin_of(target)[0]
        if scheme not in ("http", "https") or (scheme, origin_of(source)[0]) == ("http", "https"):
            raise errors.APIResponseError(
                f"{self._where()} redirects to {redact_url(target)}: batchmeter does not go from https to {scheme}"
            )

    async def _as_stranger(
        self, client: "httpx.AsyncClient", earlier: "httpx.Request", url: str, headers: Headers
    ) -> "httpx.Response":
        """A GET that carries nothing of the account, nor of the caller's own client: no header, cookie or login."""
        harmless = {name: text for name, text in headers.items() if name in _FOR_STRANGERS}
        with self._ours(), redacted_log(self.secrets):
            request = type(earlier)("GET", url, headers=harmless, extensions=dict(earlier.extensions))
            return await client.send(request, stream=True, follow_redirects=False, auth=None)

    async def _exchange(
        self, client: "httpx.AsyncClient", call: Call, headers: Headers, params: Mapping[str, Any] | None = None
    ) -> "httpx.Response":
        """One request, one answer, its body still to be read."""
        body = None if call.body is None else Pass(call.body)
        try:
            with self._ours():
                request = self._build(client, call, headers, body, params)
                if self.sign is not None:
                    request.headers.update(await self.sign(request))
                with redacted_log(self.secrets):
                    return await client.send(request, stream=True, follow_redirects=False)
        except Exception as error:
            if body is None or body.failure is None:
                raise
            raise BodyFailedError(body.failure) from error
        finally:
            if body is not None:
                await body.aclose()

    def _build(
        self,
        client: "httpx.AsyncClient",
        call: Call,
        headers: Headers,
        body: Pass | None,
        params: Mapping[str, Any] | None,
    ) -> "httpx.Request":
        content: Any = None
        if body is not None:
            content = body.chunks
        elif call.json_body is not None:
            content = as_json(call.json_body)
        url = self._url(call.path)
        query = {**self.params, **(call.params or {})} if params is None else params
        chosen = {key: value for key, value in query.items() if value is not None}
        seconds = self._seconds(call)
        return client.build_request(
            call.method,
            url,
            params=chosen or None,
            content=content,
            headers=headers,
            timeout=(min(seconds, _CONNECT_TIMEOUT), seconds, seconds, seconds),
        )

    def _seconds(self, call: Call) -> float:
        return self.timeout if call.timeout is None else call.timeout

    def _url(self, path: str) -> str:
        """The address below `base_url`; a whole address only where it is at the same host."""
        if _ABSOLUTE.match(path) is None:
            return f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"
        if not self._is_own(path):
            raise errors.APIResponseError(
                f"{self._where()} named an address at another host, {redact_url(path)}; nothing was sent there"
            )
        return path

    def _is_own(self, url: str) -> bool:
        return origin_of(url) == origin_of(self.base_url)

    async def _headers(self, call: Call) -> dict[str, str]:
        merged = {"user-agent": USER_AGENT, "accept": "application/json", **_lower(self.headers)}
        if self.auth is not None:
            merged.update(_lower(await self.auth()))
        if call.body is not None:
            merged["content-type"] = call.body.content_type
            if call.body.size is not None:
                merged["content-length"] = str(call.body.size)
        elif call.json_body is not None:
            merged["content-type"] = "application/json"
        merged.update(_lower(call.headers or {}))
        merged.setdefault("accept-encoding", "identity" if "range" in merged else "gzip")
        for name, text in merged.items():
            if not (name.isascii() and text.isascii() and f"{name}{text}".isprintable()):
                raise errors.ConfigError(
                    f"header {name!r} holds a line break or a character outside ASCII; "
                    "check the account's api_key and headers (the value is not shown, it may be secret)"
                )
        return merged

    async def _client(self, connections: int, *, fresh: bool) -> "httpx.AsyncClient":
        if self.client is not None:
            if not hasattr(self.client, "aclose"):
                raise errors.ConfigError(f"http_client is a {type(self.client).__name__}; it has to be an AsyncClient")
            return self.client  # type: ignore[no-any-return]  # httpx's or httpx2's, by duck typing
        async with self._opening:
            key = connections, fresh
            if key not in self._own:  # reading the certificates takes 50 ms
                self._own[key] = await asyncio.to_thread(open_client, connections, fresh=fresh)
            return self._own[key]

    async def _status_error(self, response: "httpx.Response", sent: Headers) -> errors.APIStatusError:
        """Built from as much of the body as arrives: an error that breaks off is still that error."""
        content = b""
        try:
            async with asyncio.timeout(_ERROR_SECONDS), aclosing(self._chunks(response, _MAX_ERROR_BODY)) as chunks:
                async for chunk in chunks:
                    content += chunk
        except (errors.ProviderError, TimeoutError):
            pass
        safe = without_secrets(content, sent, self.secrets)
        return status_error(response.status_code, _lower(response.headers), safe, where=self._where())

    async def _chunks(self, response: "httpx.Response", most: int) -> AsyncGenerator[bytes]:
        """Unpacked, in pieces; APIResponseError once there are more than `most` bytes."""
        got = 0
        with self._ours():
            async for chunk in decompressed(response, self._where()):
                got += len(chunk)
                if got > most:
                    raise errors.APIResponseError(
                        f"{self._where()} sent more than {most // _MB:,} MB in one answer; the rest was not read"
                    )
                yield chunk
        declared = "" if response.request.method == "HEAD" else response.headers.get("content-length", "")
        if declared.isdecimal() and got != int(declared) and "content-encoding" not in response.headers:
            raise errors.APIResponseError(f"{self._where()} sent {got} of {declared} bytes and then stopped")

    @contextmanager
    def _ours(self) -> Generator[None]:
        """Transport errors inside become ours; anything else passes through."""
        try:
            yield
        except Exception as error:
            known = transport_error(error, self._where())
            if known is None:
                raise
            raise known from quotable(error)

    def _where(self) -> str:
        return redact_url(self.base_url)


def _lower(headers: Any) -> dict[str, str]:
    return {str(key).lower(): str(value) for key, value in headers.items()}


def retry_delay(error: errors.APIStatusError, attempt: int) -> float | None:
    """Seconds until the next try; None: do not retry. `attempt` counts from 0."""
    advice = error.headers.get("x-should-retry")
    if advice == "false" or error.code == "insufficient_quota":
        return None
    if advice != "true" and error.status_code not in _STATUSES:
        return None
    wait = error.retry_after
    if wait is not None and wait > MAX_RETRY_AFTER:
        return None
    return wait or backoff(attempt)


def backoff(attempt: int) -> float:
    """0.5 s doubling to 8 s, less up to a quarter."""
    return min(0.5 * 2.0**attempt, 8.0) * (1 - 0.25 * random.random())  # noqa: S311 - jitter, not a secret
