"""Keys of the proxy: whose each is, what it may do and use, and revoking one."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import htpy as h
from starlette.responses import RedirectResponse

from batchmeter.host import CostRow
from batchmeter_proxy import ProxyKey, Refusal
from batchmeter_ui.page import card, moment, question
from batchmeter_ui.span import asked_span
from batchmeter_ui.sums import spend
from batchmeter_ui.table import table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import shortened, spent

_OPEN = "open_batches"
_MOST_KEYS = 80


async def show(view: View) -> Content:
    keys = await (await view.keyring()).keys()
    sums = {one.group: one for one in await spend(view, ("key",), asked_span(view))}
    used_at, used = await (keyring := await view.keyring()).last_seen(), await keyring.used()
    columns = (
        "Key",
        "Name",
        "Owner",
        "Team",
        "State",
        "May",
        "Limits, and used",
        "Spend, 30 days>",
        "Last used",
        "Created",
        "",
    )
    rows: list[Sequence[h.Node]] = []
    words = view.query("q")[:200]
    found = [one for one in sorted(keys, key=lambda one: -one.created_at) if _has(one, words)]
    for one in found[:_MOST_KEYS]:
        opened = await view.access.open_batches(one.id) if one.limits.open_batches is not None else 0
        limits = _limits(one, {**{what: count for (key, what), count in used.items() if key == one.id}, _OPEN: opened})
        rows.append(_row(view, one, sums.get(one.id), limits, used_at.get(one.id)))
    empty = "No key was ever made: only this machine may ask. Make one with batchmeter keys create."
    note = h.p(".quiet")[
        "Keys are made here or with ", h.code["batchmeter keys create"], ", and their secret is shown once."
    ]
    new = h.a(href=view.url("/keys/create"))["Make a key…"] if view.may_act else None
    rest = len(found) - len(rows)
    older = h.p(".quiet")[f"{rest:,} older ones are not shown: look for them by name."] if rest > 0 else None
    shown = card(
        "Keys", table("Keys", columns, rows, empty="No key has these words." if words else empty), older, note, more=new
    )
    return Content("Keys", [_form(view, words) if words or rest > 0 else None, shown])


def _form(view: View, words: str) -> h.Element:
    return h.form(".card.filters", method="get", action=view.url("/keys"))[
        h.label["Id, name, owner or team", h.input(name="q", value=words, type="search")], h.button["Find"]
    ]


def _has(one: ProxyKey, words: str) -> bool:
    return words.lower() in " ".join(filter(None, (one.id, one.name, one.owner, one.team))).lower()


def _row(view: View, one: ProxyKey, sums: CostRow | None, limits: h.Node, used_at: int | None) -> Sequence[h.Node]:
    state = one.state(view.now)
    revoke = (
        h.a(href=view.url(f"/keys/{quote(one.id, safe='')}/revoke"))["Revoke…"]
        if state == "active" and view.may_act
        else ""
    )
    return (
        h.span[h.code[one.id], f" …{one.hint}"],
        shortened(one.name or "–", 40),
        shortened(one.owner or "–", 40),
        shortened(one.team or "–", 40),
        h.span(class_="status" if state == "active" else "status bad")[state],
        _may(one),
        limits,
        spent(sums) if sums else "–",
        moment(used_at, view.now),
        moment(one.created_at, view.now),
        revoke,
    )


def _may(one: ProxyKey) -> str:
    rights = ["see all" if one.admin else "see its own"]
    rights += [f"accounts {', '.join(one.accounts)}"] if one.accounts is not None else []
    rights += [f"models {', '.join(one.models)}"] if one.models is not None else []
    return "; ".join(rights)


def _limits(one: ProxyKey, used: Mapping[str, int]) -> h.Node:
    """`3 of 10 open batches` for each limit that it has."""
    given = {"requests_per_minute": "requests a minute", _OPEN: "open batches", "lines_per_day": "lines a day"}
    limits = {name: getattr(one.limits, name) for name in given}
    found = [f"{used.get(name, 0):,} of {most:,} {given[name]}" for name, most in limits.items() if most is not None]
    if one.limits.enqueued_tokens is not None:
        found.append(f"{one.limits.enqueued_tokens:,} enqueued tokens")
    return shortened(", ".join(found)) if found else "none"


async def _named(view: View) -> ProxyKey:
    found = next((one for one in await (await view.keyring()).keys() if one.id == view.ids["key_id"]), None)
    if found is None:
        raise Refusal(404, "There is no such key.")
    return found


async def ask(view: View) -> Content:
    view.check_may_act()
    found = await _named(view)
    mine = found.id == view.identity.attribution.key
    text = (
        f"Revoke the key {found.id} (…{found.hint}) of {found.owner or found.name or 'nobody'}? Nobody can undo this."
    )
    warning = h.p(".problem")["This is the key that you are logged in with."] if mine else None
    there = view.url(f"/keys/{quote(found.id, safe='')}/revoke")
    return Content("Revoke a key", question(there, "Revoke", view.url("/keys"), h.p[text], warning, grave=True))


async def revoke(view: View) -> RedirectResponse:
    view.check_may_act()
    found = await _named(view)
    await view.note("revoke", found.id)
    await (await view.keyring()).revoke_key(found.id)
    return RedirectResponse(view.url("/keys"), 303)


PAGE = Page("/keys", "Keys", show, everywhere=True)
MORE = (Page("/keys/{key_id}/revoke", "", ask, revoke, everywhere=True),)
