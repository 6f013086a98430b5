"""Pricing again: one batch, or all of an account whose cost is unknown, at the prices that are known now."""

from collections.abc import Sequence

import htpy as h
from starlette.responses import RedirectResponse

from batchmeter import areprice_batches
from batchmeter.access import BatchFilter
from batchmeter.models import Cost
from batchmeter_proxy import Refusal
from batchmeter_ui.page import card, question
from batchmeter_ui.table import facts, table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import cost_of, counted

from .batch import history_of
from .batches import link

_MOST = 200
"""Batches priced again by one form."""


async def ask(view: View) -> Content:
    """The question, with the cost that would come of it."""
    view.check_not_read_only()
    account, batch_id = await _settled(view)
    changes = await areprice_batches([batch_id], custom_llm_provider=account, dry_run=True, using=view.call.client)
    back = view.batch_url(account, batch_id)
    if not changes:
        text = "Today's price book gives this batch the same cost, to the digit. Nothing would change."
        return Content("Price again", h.section(".card")[h.p[text], h.a(href=back)["Back to the batch"]])
    costs = facts([("Now", cost_of(changes[0].before)), ("Then", _with_reasons(changes[0].after))])
    note = h.p(".quiet")["This makes a new revision, and loggers get its event. The provider's file is not read again."]
    return Content(
        "Price again", question(view.batch_url(account, batch_id, "/reprice"), "Price again", back, costs, note)
    )


def _with_reasons(cost: Cost) -> h.Node:
    return [cost_of(cost), f" ({', '.join(cost.unknown)})" if cost.unknown else None]


async def reprice(view: View) -> RedirectResponse:
    """A second time nothing happens."""
    view.check_not_read_only()
    account, batch_id = await _settled(view)
    await view.note("reprice", f"{account}/{batch_id}")
    await areprice_batches([batch_id], custom_llm_provider=account, using=view.call.client)
    return RedirectResponse(view.batch_url(account, batch_id), 303)


async def _settled(view: View) -> tuple[str, str]:
    """Refusal (409) while there is nothing to price."""
    found = await history_of(view)
    if not found.revisions:
        raise Refusal(409, "This batch is not settled yet: there is no cost to reckon again.", code="not_settled")
    return found.tracked.account, found.tracked.batch_id


async def ask_all(view: View) -> Content:
    view.check_not_read_only()
    account = _account(view)
    chosen = await _unknown(view, account)
    back = view.url("/unknown")
    if not chosen:
        none = f"No batch of {account} has lines of unknown cost."
        return Content("Price again", h.section(".card")[h.p[none], h.a(href=back)["Back"]])
    some = f"the newest {_MOST:,} batches" if len(chosen) == _MOST else counted(len(chosen), "batch", "batches")
    text = h.p[
        f"Price {some} of ", h.code[account], " that have lines of unknown cost again, as the price book and your own rows",
        " are now? Those whose cost changes get a new revision, and loggers its event.",
    ]  # fmt: skip
    return Content("Price again", question(view.url("/unknown/reprice", account=account), "Price again", back, text))


async def reprice_all(view: View) -> Content:
    view.check_not_read_only()
    account = _account(view)
    chosen = await _unknown(view, account)
    await view.note("reprice", f"{account}: {len(chosen):,} batches of unknown cost")
    changes = await areprice_batches(chosen, custom_llm_provider=account, using=view.call.client)
    rows: Sequence[Sequence[h.Node]] = [
        (link(view, one.account, one.batch_id), cost_of(one.before), _with_reasons(one.after)) for one in changes
    ]
    empty = "No cost changed: the price book still lacks what they need."
    text = f"{len(changes):,} of {len(chosen):,} batches have another cost now."
    body: list[h.Node] = [h.p[text], table("Changed costs", ("Batch", "Before>", "Now>"), rows, empty=empty)]
    return Content("Price again", [card(account, body), h.p[h.a(href=view.url("/unknown"))["What is still unknown"]]])


def _account(view: View) -> str:
    """Refusal (404) for one that is not the caller's."""
    account, mine = view.query("account"), view.identity.accounts
    if not account or (mine is not None and account not in mine):
        raise Refusal(404, f"No account {account[:100]!r} is known here.")
    return account


async def _unknown(view: View, account: str) -> list[str]:
    """The newest of the caller's batches there that have lines of unknown cost."""
    chosen = BatchFilter(accounts=(account,), settled=True, unknown=True)
    page = await view.access.browse(view.own(chosen), limit=_MOST)
    return [one.tracked.batch_id for one in page.data]


PAGE = Page("/batches/{account}/{batch_id}/reprice", "", ask, reprice)
ALL = Page("/unknown/reprice", "", ask_all, reprice_all)
