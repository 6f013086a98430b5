"""The frame around every page, and the parts that pages are put together from."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import htpy as h
from markupsafe import Markup
from starlette.responses import Response

from batchmeter import __version__

from .assets import SCRIPT
from .piece import Piece
from .words import age, instant

if TYPE_CHECKING:
    from .view import Content, Tile, View


# A page that is shown in halves would move what it has shown: browsers that know how wait for its end.
_DOCUMENT = Piece(
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
    '<link rel="expect" href="#end" blocking="render">'
    '<title>%s · batchmeter</title><link rel="stylesheet" href="%s"><link rel="icon" type="image/svg+xml" href="%s">%s'
    '</head><body><a class="skip" href="#main">Skip to the content</a>%s%s'
    '<main id="main" tabindex="-1"><h1>%s</h1>%s</main>%s</body></html>'
)


def document(view: "View", content: "Content") -> Response:
    """The whole page."""
    page = _DOCUMENT(
        content.title,
        view.asset("style.css"),
        view.asset("icon.svg"),
        _script(view) if content.stream else None,
        _head(view),
        _follow(content.stream) if content.stream else None,
        content.title,
        content.body,
        _foot(view),
    )
    return Response(page, media_type="text/html")


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


_HEADER = Piece('<header><a class="brand" href="%s">batchmeter</a>%s%s</header>')
_NAV, _WHO = Piece('<nav aria-label="Pages">%s</nav>'), Piece('<div class="who">%s%s</div>')
_LINK, _HERE = Piece('<a href="%s">%s</a>'), Piece('<a href="%s" aria-current="page">%s</a>')


def _head(view: "View") -> Markup:
    if not view.known:
        return _HEADER(view.url("/"), None, None)
    links = [
        (_HERE if view.page.path == page.path else _LINK)(view.url(page.path), page.name)
        for page in view.pages
        if page.name and (view.identity.everywhere or not page.everywhere)
    ]
    return _HEADER(view.url("/"), _NAV(links), _WHO(view.who, _logout(view)))


def _logout(view: "View") -> h.Node:
    if not view.session:
        return None
    return h.form(method="post", action=view.url("/logout"))[h.button(".plain")["Log out"]]


_FOOTER = Piece(
    f'<footer id="end"><span>batchmeter {__version__}</span><span>Times are UTC; amounts are US dollars.</span>%s%s</footer>'
)
_READ = Piece('<span id="read">Read <time datetime="%s">%s</time>. </span>')
_AGAIN = Piece('<a href="%s">Read again</a>')


def _foot(view: "View") -> Markup:
    return _FOOTER(when_read(view), _AGAIN(view.here) if view.known else None)


def when_read(view: "View") -> Markup:
    return _READ(view.instant, view.instant.replace("T", " ").removesuffix("Z"))


_CARD = Piece('<section class="card"%s><div class="title"><h2>%s</h2>%s</div>%s</section>')
_ID = Piece(' id="%s"')


def card(title: str, *body: h.Node, name: str = "", more: h.Node = None) -> Markup:
    """A titled box."""
    return _CARD(_ID(name) if name else None, title, more, body)


_TILES = Piece('<div class="tiles">%s</div>')
_TILE, _BAD_TILE = (
    Piece(
        f'<div class="tile"><div class="name">%s</div><div class="value{bad}">%s</div><div class="note">%s</div></div>'
    )
    for bad in ("", " bad")
)


def tiles(shown: "Sequence[Tile]") -> Markup:
    return _TILES([(_BAD_TILE if one.bad else _TILE)(one.name, one.value, one.note) for one in shown])


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
