"""Waits for the batch that follows a failed one, where a plugin submits it again: its provider's queue was full."""

from batchmeter.access import Access
from batchmeter.parts import Parts
from batchmeter.runtime.resubmit import next_key
from batchmeter.runtime.runtime import Runtime

_SHORTEST = 0.5
"""Seconds between two looks into the ledger."""


async def next_try(client: Runtime, account: str, batch_id: str) -> str | None:
    """Its id, once there is room; None where nobody submits the request again."""
    parts = await client.ready()
    failed = await parts.ledger.get_batch(batch_id, account)
    if failed is None or failed.submission.again is None:
        return None
    plugin = failed.submission.provider
    while True:
        if plugin in parts.plugins.loggers:  # else its batches are submitted again by nobody here
            await parts.deliverer.deliver(plugin)
        due = await _next_delivery(parts, account, batch_id, plugin)
        intent = await parts.ledger.intent_of(account, next_key(failed))  # who is done with the failure has made it
        if intent is not None and intent.state == "created":
            return intent.batch_id
        if due is None:
            return None
        await parts.sleep(max((due - parts.ledger.now()) / 1000, _SHORTEST))


async def _next_delivery(parts: Parts, account: str, batch_id: str, plugin: str) -> int | None:
    """Epoch milliseconds when the failure is next told to the provider's plugin; None: that is done with it."""
    found = await Access(parts.ledger).history(batch_id, account)
    if found is None:
        return None
    owed = [one for one in found.deliveries if (one.logger, one.type) == (plugin, "batch_failure")]
    return min((one.next_attempt_at or 0 for one in owed if one.state == "pending"), default=None)
