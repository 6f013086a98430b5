"""A batch's files: its failures by code, its settlement as JSON, and the files themselves."""

import json

import htpy as h
from starlette.responses import Response

from batchmeter_proxy import Refusal
from batchmeter_proxy.files import content
from batchmeter_ui.failures import Failures, read_failures
from batchmeter_ui.page import card
from batchmeter_ui.table import table
from batchmeter_ui.view import Content, Page, View
from batchmeter_ui.words import number, shortened

from .batch import history_of


async def failures(view: View) -> Content:
    found = await history_of(view)
    batch, account = found.tracked.batch, found.tracked.account
    back = h.p[h.a(href=view.batch_url(account, found.tracked.batch_id))["Back to the batch"]]
    file_ids = [file_id for file_id in (batch.error_file_id, batch.output_file_id) if file_id]
    read = await read_failures(view, account, file_ids)
    return Content("Failures", [back, card("By error code", _codes(read))])


def _codes(read: Failures) -> h.Node:
    rows = [
        (
            h.code[shortened(code, 60)],
            number(one.lines),
            shortened(one.message, 200),
            h.ul(".samples")[(h.li[shortened(each, 80)] for each in one.samples)],
        )
        for code, one in sorted(read.codes.items(), key=lambda pair: -pair[1].lines)
    ]
    notes = [h.p(".problem")[note] for note in read.notes]
    return [
        notes,
        table(
            "Failures",
            ("Code", "Lines>", "First message", "Sample custom_ids"),
            rows,
            empty="No failed line was found.",
        ),
    ]


async def settlement_json(view: View) -> Response:
    found = await history_of(view)
    if not found.revisions:
        raise Refusal(404, "This batch is not settled yet.")
    text = json.dumps(found.revisions[-1].model_dump(mode="json"), indent=2)
    return Response(text.encode("utf-8", "replace"), media_type="application/json")


async def file(view: View) -> Response:
    """One of the batch's own files, streamed through."""
    found = await history_of(view)
    batch = found.tracked.batch
    known = {"input": batch.input_file_id, "output": batch.output_file_id, "errors": batch.error_file_id}
    file_id = known.get(view.ids["kind"])
    if not file_id:
        raise Refusal(404, "This batch has no such file.")
    view.call.ids = {**view.call.ids, "file_id": file_id}
    view.call.path_account = found.tracked.account
    response = await content(view.call)
    response.headers["content-disposition"] = f'attachment; filename="{view.ids["kind"]}.jsonl"'
    response.headers["content-type"] = "application/octet-stream"
    return response


_PLACE = "/batches/{account}/{batch_id}"
PAGES = (
    Page(f"{_PLACE}/failures", "", failures),
    Page(f"{_PLACE}/settlement.json", "", settlement_json),
    Page(f"{_PLACE}/files/{{kind}}", "", file),
)
