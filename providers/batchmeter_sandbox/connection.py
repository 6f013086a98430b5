"""One HTTP/1.1 connection: h11 reads and writes the protocol, the app answers request after request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from .app import Request, Response, json_response
from .refusal import Dropped, Refusal

CHUNK = 64 * 1024
_MAX_UNREAD = 1024 * 1024
"""Bytes of a body that nobody wanted, read on to keep the connection; a longer one ends it."""
_LOST = (ConnectionError, asyncio.IncompleteReadError, TimeoutError, h11.RemoteProtocolError)

Handle = Callable[[Request], Awaitable[Response]]


class Connection:
    """Serves one client until it leaves, errs or is closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handle) -> None:
        self._reader = reader
        self._writer = writer
        self._handle = handle
        self._http = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        try:
            while await self._one():
                self._http.start_next_cycle()
        except (Dropped, *_LOST):
            self._writer.transport.abort()
        finally:
            self._writer.close()
            with suppress(*_LOST):
                await self._writer.wait_closed()

    async def _one(self) -> bool:
        """Serves the next request; False when the connection is over."""
        try:
            event = await self._next()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, str(error))
            return False
        if not isinstance(event, h11.Request):
            return False
        request = self._request(event)
        await self._respond(await self._handle(request), bodiless=request.method == "HEAD")
        await self._read_on()
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _request(self, event: h11.Request) -> Request:
        target = urlsplit(event.target.decode("ascii", "replace"))
        return Request(
            method=event.method.decode("ascii"),
            path=unquote(target.path).rstrip("/") or "/",
            query=dict(parse_qsl(target.query, keep_blank_values=True)),
            headers={name.decode("ascii"): value.decode("latin-1") for name, value in event.headers},
            body=self._body(),
        )

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # NEED_DATA is the other sentinel
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            self._http.receive_data(await self._reader.read(CHUNK))

    async def _body(self) -> AsyncIterator[bytes]:
        """Dropped when it breaks off: there is nobody left to answer."""
        try:
            while isinstance(event := await self._next(), h11.Data):
                yield bytes(event.data)
        except h11.RemoteProtocolError as error:
            raise Dropped from error

    async def _read_on(self) -> None:
        """A request refused early has a body still to come; without it the next request cannot be found."""
        if self._http.their_state is not h11.SEND_BODY or self._http.they_are_waiting_for_100_continue:
            return
        unread = 0
        async for chunk in self._body():
            unread += len(chunk)
            if unread > _MAX_UNREAD:
                return

    async def _respond(self, response: Response, *, bodiless: bool = False) -> None:
        headers = [("content-type", response.content_type), ("content-length", str(response.size))]
        headers += list(response.headers.items())
        await self._send(h11.Response(status_code=response.status, headers=headers))
        if isinstance(response.body, bytes):
            await self._send(h11.Data(data=b"" if bodiless else response.body))
        elif not bodiless:
            async for chunk in response.body:
                await self._send(h11.Data(data=chunk))
        await self._send(h11.EndOfMessage())

    async def _refuse(self, status: int, message: str) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = json_response(Refusal(status, message).body, status)
            response.headers["connection"] = "close"
            await self._respond(response)

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()
