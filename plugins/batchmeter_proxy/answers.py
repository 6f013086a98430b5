"""Files, batches and their lists as JSON answers, and answers that are sent while they are made."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from starlette.responses import Response, StreamingResponse

from batchmeter.models import Page

from .errors import Refusal

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_SLICE = 200
"""Items written before the loop gets a turn: some milliseconds."""
_DIGITS = 18
"""Of the longest number that any database takes for one."""


class Streamed(StreamingResponse):
    """Sent while it is read from the ledger; a caller that reads too slowly is sent away."""

    def __init__(self, seconds: float, pieces: AsyncIterator[str] | AsyncIterator[bytes], **more: Any) -> None:
        super().__init__(pieces, **more)
        self._seconds = seconds

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async with asyncio.timeout(self._seconds):
            await super().__call__(scope, receive, send)


def answer(model: BaseModel) -> Response:
    """The object as its provider sent it, null where it said nothing."""
    return Response(rendered(model), media_type="application/json")


async def page_answer(page: Page[Any]) -> Response:
    """Others are served while a long one is written."""
    items: list[bytes] = []
    for item in page.data:
        items.append(rendered(item))
        if len(items) % _SLICE == 0:
            await asyncio.sleep(0)
    rest = page.model_dump(mode="json", exclude={"data"})
    body = b'{"data":[' + b",".join(items) + b"]," + _json(rest)[1:]
    return Response(body, media_type="application/json")


def rendered(model: BaseModel) -> bytes:
    try:
        return model.model_dump_json().encode()
    except PydanticSerializationError:  # a lone surrogate in somebody's text goes out as its escape
        return _json(model.model_dump(mode="json"))


def number(text: str | None, name: str, most: int, *, least: int = 1) -> int | None:
    """A `limit` from the query; Refusal unless it is `least` to `most`. A 0 is for the provider to judge."""
    if text is None or text == "":
        return None
    found = whole_number(text)
    if found is None or not least <= found <= most:
        message = f"Invalid '{name}': expected an integer from 1 to {most}, but got {text!r} instead."
        raise Refusal(400, message, code="invalid_value", param=name)
    return found


def whole_number(text: str) -> int | None:
    """None for what is no number, or one so long that Python refuses to read it."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def _json(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
