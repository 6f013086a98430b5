"""A process to be killed: claims batches and settles them, claims deliveries and writes their event ids down."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from batchmeter.events import BatchSucceeded, Settlement, event_id
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import Claim, DeliveryResult, Reschedule


async def main(url: str, log: str) -> None:
    ledger = open_ledger(url)
    await ledger.open()
    me = str(os.getpid())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with Path(log).open("a", buffering=1) as seen:
        while True:
            claims = await ledger.claim_due(owner=me, limit=5, lease_seconds=0.3)
            new = [claim for claim in claims if claim.tracked.poll_count == 0]
            await ledger.reschedule([Reschedule(claim, ledger.now()) for claim in new])
            for claim in claims:
                if claim not in new:
                    await settle(ledger, claim)
            taken = await ledger.claim_deliveries("file", owner=me, limit=5, lease_seconds=0.3)
            seen.writelines(delivery.stored.event.id + "\n" for delivery in taken)
            await ledger.finish_deliveries([DeliveryResult(delivery, "delivered") for delivery in taken])


async def settle(ledger, claim: Claim) -> None:
    account, batch = claim.tracked.account, claim.tracked.batch.model_copy(update={"status": "completed"})
    now = datetime.fromtimestamp(ledger.now() / 1000, UTC)
    outcome = {"account": account, "provider": "openai", "batch_id": batch.id, "batch": batch, "status": "completed"}
    event = BatchSucceeded(id=event_id(account, batch.id, "batch_success"), time=now, **outcome)
    await ledger.settle(claim, Settlement(**outcome, settled_at=now), {}, event, callbacks=["file"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
