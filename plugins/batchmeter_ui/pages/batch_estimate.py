"""The estimate of a batch's input file, beside what the batch cost."""

from typing import TYPE_CHECKING

import htpy as h

from batchmeter.access import BatchHistory
from batchmeter.errors import BatchmeterError
from batchmeter.events import Settlement
from batchmeter_ui.table import facts
from batchmeter_ui.view import View
from batchmeter_ui.words import dollars, share

if TYPE_CHECKING:
    from batchmeter.host import Estimate


async def estimate_of(view: View, found: BatchHistory) -> "Estimate | None":
    """At today's prices, where the requests were counted as the file was uploaded."""
    file_id = found.tracked.batch.input_file_id or found.tracked.submission.input_file_id
    try:
        return await view.host.estimate(found.tracked.account, file_id) if file_id else None
    except BatchmeterError:  # the account is not configured here
        return None


def estimated(estimate: "Estimate | None", newest: Settlement | None) -> h.Node:
    """The estimate of the input file, and how the cost compares with it."""
    if estimate is None:
        return None
    actual = newest.cost.total if newest else None
    expected = estimate.expected
    pairs: list[tuple[str, h.Node]] = [
        ("Estimate", "not known" if expected is None else dollars(expected)),
        ("At most", None if estimate.upper is None else dollars(estimate.upper)),
        ("Actual", f"{share(actual, expected)} of the estimate" if actual is not None and expected else None),
    ]
    return facts(pairs)
