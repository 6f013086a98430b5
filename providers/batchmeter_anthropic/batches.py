"""Message Batches over HTTP: make, look, list, cancel, delete, read results. Addresses are built from the account's own."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from batchmeter.http import Body, HttpClient, Retry
from batchmeter.providers import CallOptions, ContentStream
from batchmeter_spool.record import no_such
from batchmeter_translate.lines import encode
from batchmeter_translate.shape import Json, mapping, objects

from .states import is_batch_id

_PATH = "v1/messages/batches"
MOST_LISTED = 1000
PLAIN = CallOptions()


OpenRows = Callable[[], AbstractAsyncContextManager[ContentStream]]


class MessageBatches:
    """Batches of one account's workspace."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def create(self, rows: OpenRows, size: int, extra: Mapping[str, Any], options: CallOptions) -> Json:
        """Once. `rows` are JSON lines of `size` bytes; the body streams."""
        head = encode(dict(extra)).rstrip()[1:-1] if extra else b""
        begin = b"{" + (head + b"," if head else b"") + b'"requests":['
        total = len(begin) + max(size - 1, 0) + len(b"]}")
        body = Body(lambda: _joined(begin, rows), "application/json", total, replayable=False)
        return await self._call("POST", _PATH, options, body=body, retry="create")

    async def get(self, batch_id: str, options: CallOptions) -> Json:
        return await self._call("GET", _path(batch_id), options)

    async def cancel(self, batch_id: str, options: CallOptions) -> Json:
        return await self._call("POST", f"{_path(batch_id)}/cancel", options)

    async def delete(self, batch_id: str, options: CallOptions) -> None:
        await self._call("DELETE", _path(batch_id), options)

    async def page(self, after: str | None, limit: int, options: CallOptions) -> tuple[list[Json], bool]:
        """Newest first."""
        params = {"limit": max(1, min(limit, MOST_LISTED)), "after_id": after}
        found = await self._call("GET", _PATH, options, params=params)
        rows = [row for row in objects(found.get("data")) if isinstance(row.get("id"), str) and row["id"]]
        return rows, bool(rows) and bool(found.get("has_more"))  # nothing tells where to go on after none

    @asynccontextmanager
    async def results(self, batch_id: str, options: CallOptions) -> AsyncGenerator[ContentStream]:
        """Never by the `results_url` of an answer: the key would go wherever it points."""
        headers = {"accept": "application/binary", **options.extra_headers}
        path = f"{_path(batch_id)}/results"
        async with self._http.stream(
            "GET", path, params=options.extra_query, headers=headers, timeout=options.timeout
        ) as response:
            yield ContentStream(response.chunks, "application/x-jsonl", response.size, response.headers)

    async def _call(
        self,
        method: str,
        path: str,
        options: CallOptions,
        *,
        params: Mapping[str, Any] | None = None,
        body: Body | None = None,
        retry: Retry = "always",
    ) -> Json:
        response = await self._http.request(
            method,
            path,
            params={**options.extra_query, **(params or {})},
            body=body,
            headers=options.extra_headers,
            timeout=options.timeout,
            retry=retry,
        )
        if not response.content and method == "DELETE":
            return {}  # 204, as servers that speak this API answer
        return mapping(response.json())


def _path(batch_id: str) -> str:
    if not is_batch_id(batch_id):
        raise no_such("batch", batch_id)
    return f"{_PATH}/{batch_id}"


async def _joined(begin: bytes, rows: OpenRows) -> AsyncIterator[bytes]:
    """JSON lines as the items of one array: every line feed but the last becomes a comma."""
    held = begin
    async with rows() as content:
        async for chunk in content.chunks:
            yield held
            held = chunk.replace(b"\n", b",")
    yield (held[:-1] if held != begin else held) + b"]}"
