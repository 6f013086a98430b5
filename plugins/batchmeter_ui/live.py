"""Live updates: a stream of server-sent events with those parts of a page that changed since they were last sent."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import htpy as h
from starlette.responses import StreamingResponse

from batchmeter.errors import BatchmeterError
from batchmeter_proxy import Refusal

from .page import when_read
from .piece import html_of

if TYPE_CHECKING:
    from .streams import Streams
    from .view import View

Parts = Mapping[str, h.Node]
"""Id of an element of the page -> how it looks now."""
LONGEST_SECONDS = 1800.0
SILENT_SECONDS = 15.0
"""A comment after so long: whatever stands between would close a silent connection."""
ENDED = "event: ended\ndata: log in again\n\n"
"""The browser stops: the key that let it in is no longer good."""


async def stream(view: "View", streams: "Streams", identify: "Callable[[View], Awaitable[None]]") -> StreamingResponse:
    """`identify` lets the caller in, again at each look; Refusal for what is not theirs to see, or too many streams."""
    sent = await _looks(view, {}, events=True)
    place = streams.one()
    place.__enter__()

    async def messages() -> AsyncGenerator[str]:
        try:
            async for message in _messages(view, identify, sent):
                yield message
        finally:
            place.__exit__(None, None, None)

    headers = {"x-accel-buffering": "no", "cache-control": "no-store"}
    return StreamingResponse(messages(), headers=headers, media_type="text/event-stream")


async def _messages(view: "View", identify: "Callable[[View], Awaitable[None]]", sent: "_Looks") -> AsyncGenerator[str]:
    began = heard = time.monotonic()
    mark = await view.access.last_event()
    yield ": open\n\n"
    while time.monotonic() < began + LONGEST_SECONDS:
        if await _stops(view):
            return
        try:
            await identify(view)
            last = await view.access.last_event()
            found = await _looks(view, sent, events=last != mark)
        except Refusal:
            yield ENDED
            return
        except BatchmeterError:  # the ledger is away: the page shows what it showed
            continue
        if changed := {name: text for name, (text, digest) in found.items() if sent.get(name, ("", ""))[1] != digest}:
            heard = time.monotonic()
            yield _message({**changed, "read": str(when_read(view))})
        elif time.monotonic() - heard > SILENT_SECONDS:
            heard = time.monotonic()
            yield ": nothing new\n\n"
        sent, mark = {**sent, **found}, last


async def _stops(view: "View") -> bool:
    """Waits for the next look; whether the server was told to stop."""
    with suppress(TimeoutError):
        return await asyncio.wait_for(view.call.state.stopping.wait(), view.settings.live_seconds)
    return False


_Looks = dict[str, tuple[str, str]]


async def _looks(view: "View", sent: _Looks, *, events: bool) -> _Looks:
    """Id -> HTML and its hash; without new events only what changes without one."""
    assert view.page.live is not None
    parts = await view.page.live(view, whole=events or not sent)
    texts = {name: html_of(part) for name, part in parts.items()}
    return {name: (text, hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()) for name, text in texts.items()}


def _message(changed: Mapping[str, str]) -> str:
    partials = "".join(
        f'<hx-partial hx-target="#{name}" hx-swap="outerHTML">{text}</hx-partial>' for name, text in changed.items()
    )
    lines = partials.replace("\r", "&#13;").split("\n")
    return "".join(f"data: {line}\n" for line in lines) + "\n"
