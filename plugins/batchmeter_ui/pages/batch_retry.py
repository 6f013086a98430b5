"""Trying again: the requests of a finished batch that got no good answer become a new batch; for its owner and admins."""

import htpy as h
from starlette.responses import RedirectResponse

from batchmeter.access import BatchHistory
from batchmeter.errors import BatchmeterError, ProviderError, SubmissionRefusedError, UsageError, made_nothing
from batchmeter_proxy import Action, Refusal
from batchmeter_ui.page import question
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import counted

from .batch import history_of
from .batch_head import left_over


async def _wanted(view: View) -> BatchHistory:
    """Refusal (409) where nothing can be tried again."""
    view.check_not_read_only()
    found = await history_of(view)
    if not found.tracked.batch.ended:
        raise Refusal(409, "This batch is still open: what failed can be tried again once it has ended.", code="open")
    if not left_over(found):
        raise Refusal(409, "Every request of this batch has a good answer: nothing is left to try.", code="complete")
    return found


async def ask(view: View) -> Content:
    found = await _wanted(view)
    account, batch_id = found.tracked.account, found.tracked.batch_id
    count = left_over(found)
    text = h.p[
        f"Submit {counted(count, 'request')} of ",
        h.code[batch_id],
        " that failed, expired or got no line again, as a new batch? The provider bills it as any other.",
    ]
    note = h.p(".quiet")["Requests that were tried again before are not submitted twice: this leads to their batch."]
    there, back = view.batch_url(account, batch_id, "/retry"), view.batch_url(account, batch_id)
    return Content("Try again", question(there, "Submit them again", back, text, note))


async def retry(view: View) -> RedirectResponse:
    """Leads to the batch that has the rest, whoever made it first; counts towards the caller's limits."""
    found = await _wanted(view)
    account, batch_id = found.tracked.account, found.tracked.batch_id
    once = f"{view.identity.attribution.key}:retry {batch_id}"
    await view.call.admit(Action("batch", account, lines=left_over(found), once=once))
    await view.note("retry", f"{account}/{batch_id}")
    try:
        async with view.call.transfer():
            made = await view.call.client.batches.retry(
                batch_id,
                custom_llm_provider=account,
                wait_for_room=False,  # nobody waits for a page that long
            )
    except BatchmeterError as error:
        view.call.in_vain = not isinstance(error, ProviderError) or made_nothing(error)
        if isinstance(error, UsageError) and not isinstance(error, SubmissionRefusedError):
            raise Refusal(409, str(error), code="nothing_to_retry") from error
        raise
    view.call.in_vain = not made.new
    return RedirectResponse(view.batch_url(account, made.batch.id), 303)


PAGE = Page("/batches/{account}/{batch_id}/retry", "", ask, retry)
