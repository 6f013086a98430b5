"""A batch's results, page by page: as xAI writes them for the meter, as OpenAI's lines for users."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

import msgspec

from batchmeter.errors import APIResponseError

PAGE = 200
"""Rows; the largest page, of 1,000 rows, might not fit into one answer of HttpClient."""
Read = Callable[[str | None], Awaitable[bytes]]
"""From a page's token to its JSON."""
CANCELLED = 1
"""The gRPC code on requests of a batch that was cancelled."""


class _Results(msgspec.Struct):
    results: list[msgspec.Raw] = []
    pagination_token: str | None = None


class _Error(msgspec.Struct):
    code: int | str | None = None
    message: str = ""


class _Result(msgspec.Struct):
    response: dict[str, Any] | None = None
    error: _Error | str | None = None


class _Row(msgspec.Struct):
    batch_request_id: str
    batch_result: _Result = msgspec.field(default_factory=_Result)
    error_message: str | None = None


_decode_page = msgspec.json.Decoder(_Results).decode
_decode_row = msgspec.json.Decoder(_Row).decode


async def native(read: Read) -> AsyncGenerator[bytes]:
    """Rows as xAI writes them, one a line. The last page is the one without a token, or without rows."""
    token: str | None = None
    known_tokens: set[str] = set()
    while True:
        page = await asyncio.to_thread(_page, await read(token))
        if page.results:
            yield b"".join(_line(row) for row in page.results)
        if not page.pagination_token or not page.results:
            return
        token = page.pagination_token
        if token in known_tokens:
            raise APIResponseError("xAI's pages of results lead in a circle")
        known_tokens.add(token)


async def translated(read: Read, kind: str) -> AsyncGenerator[bytes]:
    """OpenAI's lines of the requests that were answered (`output`), or of the others (`error`)."""
    async for rows in native(read):
        if lines := await asyncio.to_thread(_lines, rows, kind):
            yield lines


def _page(content: bytes) -> _Results:
    try:
        return _decode_page(content)
    except msgspec.MsgspecError as error:
        raise APIResponseError(f"xAI's results cannot be read: {error}") from error


def _line(row: msgspec.Raw) -> bytes:
    raw = bytes(row)
    return (raw if b"\n" not in raw else json.dumps(json.loads(raw)).encode()) + b"\n"


def _lines(rows: bytes, kind: str) -> bytes:
    found = (line_of(raw) for raw in rows.split(b"\n") if raw)
    return b"".join(line for answered, line in found if answered == (kind == "output"))


def line_of(raw: bytes) -> tuple[bool, bytes]:
    """Whether the request was answered, and its line."""
    try:
        row = _decode_row(raw)
    except msgspec.MsgspecError as error:  # hides no other row
        name = _name_in(raw)
        failure = {"code": "malformed_row", "message": f"a row of xAI's results cannot be read: {error}"}
        return False, _written({"id": name, "custom_id": name, "response": None, "error": failure})
    body = next((value for value in (row.batch_result.response or {}).values() if value is not None), None)
    line: dict[str, Any] = {"id": row.batch_request_id, "custom_id": row.batch_request_id}
    if body is not None:
        identity = body.get("id") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        line |= {"response": {"status_code": 200, "request_id": identity, "body": body}, "error": None}
    else:
        line |= {"response": None, "error": _error(row)}
    return body is not None, _written(line)


def _name_in(raw: bytes) -> str | None:
    try:
        found: object = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    name = cast("dict[str, object]", found).get("batch_request_id") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def _written(line: dict[str, Any]) -> bytes:
    """One line; half a character, which has no UTF-8, as its escape."""
    try:
        return msgspec.json.encode(line) + b"\n"
    except UnicodeEncodeError:
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _error(row: _Row) -> dict[str, str]:
    error = row.batch_result.error
    if isinstance(error, str):
        return {"code": "request_failed", "message": error}
    code = None if error is None else error.code
    message = (error.message if error is not None else "") or row.error_message or "xAI gave no answer"
    return {"code": "batch_cancelled" if code == CANCELLED else str(code or "request_failed"), "message": message}
