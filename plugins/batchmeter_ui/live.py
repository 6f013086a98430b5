"""Live updates: a stream of server-sent events with those parts of a page that changed since they were last sent."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import htpy as h
from markupsafe import Markup
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


_Digests = dict[str, str]
"""Id of an element -> the hash of its HTML."""


def render(parts: Parts) -> dict[str, Markup]:
    """Each as the HTML that will be sent."""
    return {name: Markup(html_of(part)) for name, part in parts.items()}  # noqa: S704 - html_of has escaped it


def fingerprint(looks: Mapping[str, str]) -> str:
    """Hashes of what a browser shows: its stream's address has them, and tells what changed until it was open."""
    return _text_of(_digests(looks))


async def stream(view: "View", streams: "Streams", identify: "Callable[[View], Awaitable[None]]") -> StreamingResponse:
    """`identify` lets the caller in, again at each look; Refusal for what is not theirs to see, or too many streams.

    It begins with what is not as the browser shows it: by `Last-Event-ID` where a stream was cut off, or its page hidden
    for a while, else by `seen`.
    """
    shown = _digests_in(view.call.request.headers.get("last-event-id") or view.query("seen"))
    mark = await view.access.last_event()
    looks = await _looks(view, whole=True)
    place = streams.one()
    place.__enter__()

    async def messages() -> AsyncGenerator[str]:
        try:
            async for message in _messages(view, identify, shown, looks, mark):
                yield message
        finally:
            place.__exit__(None, None, None)

    headers = {"x-accel-buffering": "no", "cache-control": "no-store"}
    return StreamingResponse(messages(), headers=headers, media_type="text/event-stream")


async def _messages(
    view: "View", identify: "Callable[[View], Awaitable[None]]", shown: _Digests, looks: dict[str, Markup], mark: int
) -> AsyncGenerator[str]:
    began = heard = time.monotonic()
    yield ": open\n\n"
    while True:
        digests = _digests(looks)
        changed = {name: text for name, text in looks.items() if shown.get(name) != digests[name]}
        shown = {**shown, **digests}
        if changed:
            heard = time.monotonic()
            yield _message({**changed, "read": when_read(view)}, _text_of(shown))
        elif time.monotonic() - heard > SILENT_SECONDS:
            heard = time.monotonic()
            yield ": nothing new\n\n"
        if time.monotonic() >= began + LONGEST_SECONDS or await _stops(view):
            return
        try:
            await identify(view)
            last = await view.access.last_event()
            looks = await _looks(view, whole=last != mark)
            mark = last
        except Refusal:
            yield ENDED
            return
        except BatchmeterError:  # the ledger is away: the page shows what it showed
            looks = {}


async def _stops(view: "View") -> bool:
    """Waits for the next look; whether the server was told to stop."""
    with suppress(TimeoutError):
        return await asyncio.wait_for(view.call.state.stopping.wait(), view.settings.live_seconds)
    return False


async def _looks(view: "View", *, whole: bool) -> dict[str, Markup]:
    """Without new events only what changes without one."""
    assert view.page.live is not None
    return render(await view.page.live(view, whole=whole))


def _digests(looks: Mapping[str, str]) -> _Digests:
    return {name: hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16] for name, text in looks.items()}


def _text_of(digests: _Digests) -> str:
    return "~".join(f"{name}.{digest}" for name, digest in digests.items())


def _digests_in(text: str) -> _Digests:
    pairs = (pair.partition(".") for pair in text.split("~"))
    return {name: digest for name, _, digest in pairs}


def _message(changed: Mapping[str, str], event_id: str) -> str:
    partials = "".join(
        f'<hx-partial hx-target="#{name}" hx-swap="outerHTML">{text}</hx-partial>' for name, text in changed.items()
    )
    lines = partials.replace("\r", "&#13;").split("\n")
    return f"id: {event_id}\n" + "".join(f"data: {line}\n" for line in lines) + "\n"
