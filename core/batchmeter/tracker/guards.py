"""Asks plugins before a batch is submitted, with the estimate that a plugin makes of its input file."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchmeter.errors import ConfigError
from batchmeter.host import Estimate, EstimateQuery, PlannedBatch
from batchmeter.ledger.records import Millis, Submission

if TYPE_CHECKING:
    from batchmeter.ledger.ledger import Ledger
    from batchmeter.plugins import Plugins
    from batchmeter.pricing.groups import PriceSource
    from batchmeter.providers import Provider

log = logging.getLogger("batchmeter")

PATIENCE: Millis = 60_000
"""From the plugins' yes to the intent: what they reserved may be given back later than this, never sooner."""


@dataclass(slots=True)
class Guards:
    """The plugins' `before_submit`, of one client."""

    ledger: "Ledger"
    plugins: "Plugins"
    prices: "PriceSource"

    async def ask(
        self, provider: "Provider", submission: Submission, intent_id: str, metadata: Mapping[str, str] | None = None
    ) -> PlannedBatch | None:
        """Raises what a plugin raises to refuse it; None where nobody is asked."""
        if not self.plugins.guarded:
            if getattr(provider, "enqueued_tokens", None):
                name = submission.account
                raise ConfigError(f"no plugin holds the limits of [accounts.{name}]: set BATCHMETER_BUDGETS=on")
            return None
        planned = planned_batch(provider, submission, intent_id, metadata)
        await self.plugins.before_submit(planned, await self.estimate_of(provider, submission))
        return planned

    async def dropped(self, planned: PlannedBatch | None, reason: str) -> None:
        """No batch came of it, for certain."""
        if planned is not None:
            await self.plugins.submit_dropped(planned, reason)

    async def estimate_of(self, provider: "Provider", submission: Submission) -> Estimate | None:
        source = submission.input_file_id
        return None if source is None else await self.estimate(provider, submission.account, source)

    async def estimate(self, provider: "Provider", account: str, file_id: str) -> Estimate | None:
        """None where no plugin read the input file as it was uploaded."""
        text = await self.ledger.file_estimate(account, file_id)
        if text is None:
            return None
        ask = self.plugins.price_lines if self.plugins.prices_lines else None
        return await self.plugins.estimate_batch(EstimateQuery(text, provider, self.prices, ask))


def planned_batch(
    provider: "Provider",
    submission: Submission,
    intent_id: str,
    metadata: Mapping[str, str] | None = None,
    batch_id: str | None = None,
) -> PlannedBatch:
    return PlannedBatch(
        account=submission.account,
        provider=submission.provider,
        endpoint=submission.endpoint,
        model=submission.model,
        region=submission.region,
        input_file_id=submission.input_file_id,
        attribution=submission.attribution,
        metadata=dict(submission.metadata if metadata is None else metadata),
        id=intent_id,
        batch_id=batch_id,
        invented=getattr(provider, "invented", False),
        enqueued_tokens=getattr(provider, "enqueued_tokens", {}),
    )
