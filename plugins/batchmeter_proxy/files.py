"""`/files`: list, retrieve, delete, download; uploads are in `upload.py`."""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from starlette.responses import Response

from batchmeter.providers import ContentStream

from .answers import answer, number, page_answer
from .body import TooSlowError
from .call import Call
from .errors import Refusal, kept
from .key_listings import LARGEST_FILES, listed_files, own_files
from .options import ProxyOptions
from .ownership import account_for, no_file
from .routes import Route
from .upload import create

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

_KEPT = ("content-range", "accept-ranges", "etag", "last-modified", "content-disposition")
_ASKED = ("range", "if-range", "accept")


async def retrieve(call: Call) -> Response:
    file_id = call.ids["file_id"]
    account = await account_for(call, file_id, no_file(file_id))
    return answer(await call.client.files.retrieve(file_id, custom_llm_provider=account))


async def delete(call: Call) -> Response:
    file_id = call.ids["file_id"]
    account = await account_for(call, file_id, no_file(file_id))
    return answer(await call.client.files.delete(file_id, custom_llm_provider=account))


async def list_files(call: Call) -> Response:
    query = call.request.query_params
    account = call.account or call.client.accounts.default
    call.allow(account)
    purpose, order, after = (query.get(name) or None for name in ("purpose", "order", "after"))
    if order not in (None, "asc", "desc"):
        message = f"Invalid 'order': expected 'asc' or 'desc', but got {order!r} instead."
        raise Refusal(400, message, code="invalid_value", param="order")
    count = number(query.get("limit"), "limit", LARGEST_FILES, least=0 if call.identity.admin else 1)
    limit = LARGEST_FILES if count is None else count
    if not call.identity.admin:
        return await page_answer(await own_files(call, account, purpose=purpose, order=order, after=after, limit=limit))
    return await page_answer(await listed_files(call, account, purpose=purpose, order=order, after=after, limit=limit))


async def content(call: Call) -> Response:
    """Streamed; a range is the provider's to serve. What breaks off before its first bytes is answered as an error."""
    file_id = call.ids["file_id"]
    account = await account_for(call, file_id, no_file(file_id))
    headers = {name: text for name in _ASKED if (text := call.request.headers.get(name))}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(call.transfer())
        stream = await stack.enter_async_context(
            call.client.files.stream(file_id, custom_llm_provider=account, extra_headers=headers)
        )
        first = await anext(stream.chunks, b"")
        return Download(stream, first, stack.pop_all(), call.state.options)


class Download(Response):
    """A provider's file on its way to the caller, with its connection given back whatever happens."""

    def __init__(self, stream: ContentStream, first: bytes, stack: AsyncExitStack, options: ProxyOptions) -> None:
        self._stream = stream
        self._first = first
        self._stack = stack
        self._options = options
        self.status_code = stream.status_code
        self.background = None
        headers = {name: text for name in _KEPT if (text := stream.headers.get(name))} | kept(stream.headers)
        headers["content-type"] = stream.content_type
        if stream.size is not None:
            headers["content-length"] = str(stream.size)
        self.init_headers(headers)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        del scope
        async with self._stack:
            sending = asyncio.create_task(self._in_time(send))
            leaving = asyncio.create_task(_left(receive))
            try:
                await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving):
                    if not task.done():
                        task.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)
        if not sending.cancelled():
            sending.result()

    async def _in_time(self, send: "Send") -> None:
        """A client that reads nothing for too long is sent away in the middle of the file."""
        idle = self._options.download_idle_seconds

        async def patient(message: "Message") -> None:
            async with asyncio.timeout(idle):
                await send(message)

        try:
            async with asyncio.timeout(self._options.download_seconds):
                await self._send(patient)
        except TimeoutError:
            raise TooSlowError(408, "The file was read too slowly.", code="request_timeout") from None

    async def _send(self, send: "Send") -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self._first:
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async for chunk in self._stream.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: "Receive") -> None:
    """Returns when the caller has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


ROUTES = (
    Route("POST", "/files", create, "Upload a file", transfer=True),
    Route("GET", "/files", list_files, "List files"),
    Route("GET", "/files/{file_id}", retrieve, "Retrieve a file"),
    Route("DELETE", "/files/{file_id}", delete, "Delete a file"),
    Route("GET", "/files/{file_id}/content", content, "Download a file", transfer=True),
)
