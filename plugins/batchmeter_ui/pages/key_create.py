"""Making a key: the form, and the page that shows its secret, once."""

import secrets

import htpy as h

from batchmeter.errors import UsageError
from batchmeter_proxy import Refusal
from batchmeter_proxy.keys import create_key
from batchmeter_ui.view import Content, Page, View

_TEXTS = (
    ("name", "What it is for"),
    ("owner", "Owner"),
    ("team", "Team"),
    ("tags", "Tags, with commas"),
    ("days", "Days until it expires"),
)
_LONGEST = 200


async def ask(view: View) -> Content:
    view.check_may_act()
    body = h.form(".card", method="post", action=view.url("/keys/create"))[
        h.input(type="hidden", name="once", value=secrets.token_urlsafe(16)),
        (
            h.label[title, h.input(name=name, maxlength=str(_LONGEST), inputmode="numeric" if name == "days" else None)]
            for name, title in _TEXTS
        ),
        h.label(".tick")[h.input(type="checkbox", name="admin", value="1"), "sees everybody's batches (admin)"],
        h.p(".quiet")["Its secret is shown on the next page, and never again."],
        h.button["Make the key"],
        " ",
        h.a(href=view.url("/keys"))["Leave it"],
    ]
    return Content("Make a key", body)


async def create(view: View) -> Content:
    """Refusal (400) for what makes no key, (409) for a form that was sent before."""
    view.check_may_act()
    given = await view.form()
    texts = {name: given.get(name, "").strip()[:_LONGEST] for name, _ in _TEXTS}
    if texts["days"] and not texts["days"].isdecimal():
        raise Refusal(400, "Days until it expires: write a number, or nothing.", code="invalid_value")
    word = given.get("once", "")[:64]
    if not word or not await view.host.once("ui key", word):
        raise Refusal(
            409, "This form was sent before: its key was made then. Open the form anew for another.", code="sent_before"
        )
    try:
        key, secret = await create_key(
            await view.keyring(),
            name=texts["name"] or None,
            owner=texts["owner"] or None,
            team=texts["team"] or None,
            tags=[tag for tag in map(str.strip, texts["tags"].split(",")) if tag],
            admin=bool(given.get("admin")),
            expires_at=view.now + int(texts["days"]) * 86_400_000 if texts["days"] else None,
        )
    except UsageError as error:
        raise Refusal(400, str(error), code="invalid_value") from error
    await view.note("create key", key.id)
    body = h.section(".card")[
        h.p["The secret of ", h.code[key.id], ": keep it now, nobody can show it again."],
        h.p(".big")[h.code[secret]],
        h.a(href=view.url("/keys"))["All keys"],
    ]
    return Content("A new key", body)


PAGE = Page("/keys/create", "", ask, create, everywhere=True)
