"""Cancelling a batch: a page that asks, and the form that does it; for its owner and for admins."""

import htpy as h
from starlette.responses import RedirectResponse

from batchmeter_proxy import Refusal
from batchmeter_ui.page import question
from batchmeter_ui.view import Content, Page, View

from .batch import history_of


async def ask(view: View) -> Content:
    view.check_not_read_only()
    found = await history_of(view)
    account, batch_id = found.tracked.account, found.tracked.batch_id
    if found.tracked.batch.ended:
        raise Refusal(409, "This batch has ended: there is nothing to cancel.", code="batch_ended")
    text = h.p[
        "Ask the provider to cancel ", h.code[batch_id], "? Answers given until then are still billed, and metered."
    ]
    there, back = view.batch_url(account, batch_id, "/cancel"), view.batch_url(account, batch_id)
    return Content("Cancel a batch", question(there, "Cancel the batch", back, text, grave=True))


async def cancel(view: View) -> RedirectResponse:
    """A second time nothing happens."""
    view.check_not_read_only()
    found = await history_of(view)
    account, batch_id = found.tracked.account, found.tracked.batch_id
    if not found.tracked.batch.ended and found.tracked.batch.status != "cancelling":
        await view.note("cancel", f"{account}/{batch_id}")
        await view.call.client.batches.cancel(batch_id, custom_llm_provider=account)
    return RedirectResponse(view.batch_url(account, batch_id), 303)


PAGE = Page("/batches/{account}/{batch_id}/cancel", "", ask, cancel)
