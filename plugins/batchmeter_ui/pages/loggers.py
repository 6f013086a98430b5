"""Loggers: what each is owed, what was given up, and sending that again."""

from collections.abc import Sequence
from urllib.parse import quote

import htpy as h
from starlette.responses import RedirectResponse

from batchmeter.access import MOST_COUNTED, MOST_NEWEST, LoggerActivity, Subscribed
from batchmeter_proxy import Refusal
from batchmeter_ui.page import card, moment, question
from batchmeter_ui.table import facts, table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import number, shortened

from .batches import link

_MOST_DEAD = 50
_NONE = "No logger was ever here: set one, such as [plugins.file]."


async def show(view: View) -> Content:
    rows = [_whole(view, one, await view.access.activity(one.name)) for one in await view.access.subscriptions()]
    columns = (
        "Logger", "Waiting>", "Oldest waiting", "Given up>", "Delivered>", "In the last hour>", "Last error", "Handles",
        "Last seen", "Remark",
    )  # fmt: skip
    return Content("Loggers", card("Who is owed events", table("Loggers", columns, rows, empty=_NONE)))


def backlog(view: View, found: Sequence[Subscribed]) -> h.Node:
    """The short one of the overview."""
    columns = ("Logger", "Waiting>", "Oldest waiting", "Given up>")
    return table("Loggers", columns, [_row(view, one) for one in found], empty=_NONE)


def _row(view: View, one: Subscribed) -> tuple[h.Node, ...]:
    name = h.a(href=view.url(f"/loggers/{quote(one.name, safe='')}"))[shortened(one.name, 60)]
    dead = h.span(".bad")[number(one.dead)] if one.dead else "0"
    return (name, number(one.owed), moment(one.oldest_owed_at, view.now), dead)


def _whole(view: View, one: Subscribed, lately: LoggerActivity) -> Sequence[h.Node]:
    handles = "not known yet" if one.kinds is None else ", ".join(sorted(one.kinds))
    remark = "abandoned" if one.ended_at is not None else shortened(one.problem or "")
    error, last = shortened(lately.last_error or "–"), moment(one.last_seen, view.now)
    return (*_row(view, one), *_rate(lately), error, h.span(".text")[shortened(handles)], last, remark)


def _rate(lately: LoggerActivity) -> tuple[str, str]:
    """Delivered, in all and in the last hour, as far as they are counted."""
    more = "+" if lately.delivered >= MOST_COUNTED else ""
    return f"{lately.delivered:,}{more}", f"{lately.last_hour:,}{'+' if lately.last_hour >= MOST_NEWEST else ''}"


async def _named(view: View) -> Subscribed:
    name = view.ids["name"]
    found = next((one for one in await view.access.subscriptions() if one.name == name), None)
    if found is None:
        raise Refusal(404, f"No logger {name[:100]!r} is known here.")
    return found


async def one(view: View) -> Content:
    found = await _named(view)
    dead = await view.access.deliveries(found.name, "dead", limit=_MOST_DEAD)
    rows = [
        (
            link(view, each.stored.event.account, each.stored.event.batch_id),
            each.stored.event.account,
            each.stored.event.type,
            number(each.attempts),
            shortened(each.last_error or ""),
        )
        for each in dead
    ]
    again = (
        h.a(".next", href=view.url(f"/loggers/{quote(found.name, safe='')}/replay"))["Send them again…"]
        if found.dead and view.may_act
        else None
    )
    lately = await view.access.activity(found.name)
    delivered, hour = _rate(lately)
    state = facts([
        ("Delivered", f"{delivered}, {hour} in the last hour"),
        ("Last error", lately.last_error),
        ("Waiting", number(found.owed)),
        ("Oldest waiting", moment(found.oldest_owed_at, view.now)),
        ("Given up", number(found.dead)),
        ("Since", moment(found.since, view.now)),
        ("Last seen", moment(found.last_seen, view.now)),
        ("Abandoned", moment(found.ended_at, view.now) if found.ended_at else None),
        ("Problem", found.problem),
    ])  # fmt: skip
    title = f"Given up{f', the oldest {_MOST_DEAD}' if found.dead > len(dead) else ''}"
    columns = ("Batch", "Account", "Event", "Attempts>", "Last error")
    body = [card("State", state), card(title, table(title, columns, rows, empty="No event was given up."), again)]
    return Content(f"Logger {found.name}", body)


async def ask(view: View) -> Content:
    view.check_may_act()
    found = await _named(view)
    back = view.url(f"/loggers/{quote(found.name, safe='')}")
    text = f"Send {found.dead:,} events that were given up to {found.name} again? It may have had some of them already."
    return Content("Send again", question(f"{back}/replay", "Send again", back, h.p[text]))


async def replay(view: View) -> RedirectResponse:
    view.check_may_act()
    found = await _named(view)
    await view.note("replay", found.name)
    await view.access.replay_dead(found.name)
    return RedirectResponse(view.url(f"/loggers/{quote(found.name, safe='')}"), 303)


PAGE = Page("/loggers", "Loggers", show, everywhere=True)
MORE = (
    Page("/loggers/{name}", "", one, everywhere=True),
    Page("/loggers/{name}/replay", "", ask, replay, everywhere=True),
)
