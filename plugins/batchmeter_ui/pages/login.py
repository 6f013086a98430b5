"""Log in with a key, and out again."""

from http.cookies import SimpleCookie

import htpy as h
from starlette.responses import JSONResponse, RedirectResponse, Response

from batchmeter_proxy import Refusal
from batchmeter_proxy.auth import identity_of
from batchmeter_ui.page import document
from batchmeter_ui.session import COOKIE, HOURS, sha256
from batchmeter_ui.view import Content, Page, View

_LONGEST_KEY = 512


async def show(view: View) -> Content:
    return _form(view)


def _form(view: View, problem: str = "") -> Content:
    leads = view.query("next")
    body = h.form(".card.login", method="post", action=view.url("/login", next=leads))[
        h.p(".problem", role="alert")[problem] if problem else None,
        h.input(name="username", type="text", autocomplete="username", value="batchmeter", hidden=True),
        h.label(for_="key")["Key of this proxy"],
        h.input(
            "#key", name="key", type="password", autocomplete="current-password", required=True, spellcheck="false"
        ),
        h.button["Log in"],
        h.p(".quiet")[
            "Make one with ", h.code["batchmeter keys create"], "; an admin key (--admin) sees everybody's batches."
        ],
    ]
    return Content("Log in", body)


async def log_in(view: View) -> Response:
    secret = (await view.form()).get("key", "").strip()[:_LONGEST_KEY]
    try:
        identity_of(await (await view.keyring()).find_key(sha256(secret)), view.now)
    except Refusal as refusal:
        response = document(view, _form(view, refusal.message))
        response.status_code = 401
        return response
    value = await (await view.sessions()).begin(secret)
    leads = view.query("next")
    response = RedirectResponse(view.base + (leads if _is_own(leads) else ""), 303)
    response.headers["set-cookie"] = _cookie(view, value, HOURS * 3600)
    return response


async def enter(view: View) -> Response:
    """By a link that `batchmeter ui` asked for."""
    value = await (await view.sessions()).enter(view.query("once")[:_LONGEST_KEY])
    if value is None:
        response = document(view, _form(view, "This link was used before, or is older than a minute."))
        response.status_code = 401
        return response
    response = RedirectResponse(view.base, 303)
    response.headers["set-cookie"] = _cookie(view, value, HOURS * 3600)
    return response


async def make_link(view: View) -> Response:
    """A link by which a key holder's browser may enter."""
    scheme, _, secret = view.call.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or view.identity.attribution.key is None:
        raise Refusal(401, "Send a key as `Authorization: Bearer`.", code="invalid_api_key")
    word = await (await view.sessions()).make_link(secret.strip())
    return JSONResponse({"path": view.url("/enter", once=word)})


def _is_own(path: str) -> bool:
    """A page of ours: nothing that a browser reads as another host."""
    return path.startswith(("/", "?")) and not path.startswith("//") and "\\" not in path and path.isprintable()


async def log_out(view: View) -> Response:
    if view.session is not None:
        await (await view.sessions()).end(view.session)
    response = RedirectResponse(view.url("/login"), 303)
    response.headers["set-cookie"] = _cookie(view, "", 0)
    return response


def _cookie(view: View, value: str, seconds: int) -> str:
    cookie = SimpleCookie({COOKIE: value})
    made = cookie[COOKIE]
    made["path"] = view.base
    made["max-age"] = str(seconds)
    made["httponly"] = True
    made["samesite"] = "Strict"
    if view.call.request.url.scheme == "https":
        made["secure"] = True
    return made.OutputString()


LOGIN = Page("/login", "", show, log_in)
ENTER = Page("/enter", "", enter)
LINKS = Page("/links", "", show, make_link)
LOGOUT = Page("/logout", "", show, log_out)
