"""The frame around every page, and the parts that pages are put together from."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import htpy as h
from starlette.responses import Response

from batchmeter import __version__

from .assets import SCRIPT
from .words import age, instant

if TYPE_CHECKING:
    from .view import Content, Tile, View


def document(view: "View", content: "Content") -> Response:
    """The whole page."""
    page = h.html(lang="en")[
        h.head[
            h.meta(charset="utf-8"),
            h.meta(name="viewport", content="width=device-width, initial-scale=1"),
            h.meta(name="color-scheme", content="light dark"),
            h.title[f"{content.title} · batchmeter"],
            h.link(rel="stylesheet", href=view.asset("style.css")),
            h.link(rel="icon", type="image/svg+xml", href=view.asset("icon.svg")),
            _script(view) if content.stream else None,
        ],
        h.body[
            h.a(".skip", href="#main")["Skip to the content"],
            _head(view),
            _follow(content.stream) if content.stream else None,
            h.main("#main", tabindex="-1")[h.h1[content.title], content.body],
            _foot(view),
        ],
    ]
    return Response(str(page), media_type="text/html")


_SETTINGS = json.dumps({"includeIndicatorCSS": False})
"""The pages' policy allows no style that a script adds."""


def _script(view: "View") -> h.Node:
    return [
        h.meta(name="htmx-config", content=_SETTINGS),
        h.script(src=view.asset(SCRIPT), defer=True),
    ]


def _follow(stream: str) -> h.Node:
    return [
        h.div({"hx-sse:connect": stream, "hx-sse:close": "ended", "hx-swap": "none"}),
        h.p("#offline", role="status", hidden=True)["This page does not follow any more: read it again."],
    ]


def _head(view: "View") -> h.Element:
    links = [
        h.a(href=view.url(page.path), aria_current="page" if view.page.path == page.path else None)[page.name]
        for page in view.pages
        if page.name and (view.identity.everywhere or not page.everywhere)
    ]
    return h.header[
        h.a(".brand", href=view.url("/"))["batchmeter"],
        h.nav(aria_label="Pages")[links] if view.known else None,
        h.div(".who")[view.who, _logout(view)] if view.known else None,
    ]


def _logout(view: "View") -> h.Node:
    if not view.session:
        return None
    return h.form(method="post", action=view.url("/logout"))[h.button(".plain")["Log out"]]


def _foot(view: "View") -> h.Element:
    return h.footer[
        h.span[f"batchmeter {__version__}"],
        h.span["Times are UTC; amounts are US dollars."],
        when_read(view),
        h.a(href=view.here)["Read again"] if view.known else None,
    ]


def when_read(view: "View") -> h.Element:
    return h.span("#read")[
        "Read ", h.time(datetime=view.instant)[view.instant.replace("T", " ").removesuffix("Z")], ". "
    ]


def card(title: str, *body: h.Node, name: str = "", more: h.Node = None) -> h.Element:
    """A titled box."""
    return h.section(".card", id=name or None)[h.div(".title")[h.h2[title], more], body]


def tiles(shown: "Sequence[Tile]") -> h.Element:
    return h.div(".tiles")[
        (
            h.div(".tile")[
                h.div(".name")[one.name],
                h.div(class_="value bad" if one.bad else "value")[one.value],
                h.div(".note")[one.note],
            ]
            for one in shown
        )
    ]


def question(action: str, button: str, back: str, *body: h.Node, grave: bool = False) -> h.Element:
    """The form of a page that asks before it changes something: `action` takes the POST, `back` leaves all as it is."""
    return h.form(".card", method="post", action=action)[
        body, h.button(class_="bad" if grave else None)[button], " ", h.a(href=back)["Leave it"]
    ]


def moment(millis: int | None, now: int) -> h.Node:
    """A time with its age beside it; nothing for None."""
    if millis is None:
        return "–"
    text = instant(millis)
    return h.time(datetime=text, title=text)[age(now - millis)]
