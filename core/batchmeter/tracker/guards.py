"""Asks plugins before a batch is submitted, with what its input file may cost: counted at upload, priced now."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchmeter.costs import cost_rows
from batchmeter.errors import BatchmeterError
from batchmeter.host import PlannedBatch
from batchmeter.ledger.records import Millis, Submission
from batchmeter.pricing.estimate import Estimate, History, InputSizes, estimate
from batchmeter.pricing.names import base_model

from .settle import terms_of

if TYPE_CHECKING:
    from batchmeter.ledger.ledger import Ledger
    from batchmeter.plugins import Plugins
    from batchmeter.pricing.groups import PriceSource
    from batchmeter.providers import Provider

log = logging.getLogger("batchmeter")

FRESH: Millis = 600_000
"""How long an account's history is believed."""
DAY: Millis = 86_400_000
SPAN: Millis = 90 * DAY
"""Of settled batches that make the history."""
PATIENCE: Millis = 60_000
"""From the plugins' yes to the intent: what they reserved may be given back later than this, never sooner."""
_FEW = 8
"""Models that are priced on the event loop: a millisecond."""


@dataclass(slots=True)
class Guards:
    """The plugins' `before_submit`, of one client."""

    ledger: "Ledger"
    plugins: "Plugins"
    prices: "PriceSource"
    _histories: dict[str, tuple[Millis, dict[str, History]]] = field(
        default_factory=dict[str, tuple[Millis, dict[str, History]]]
    )

    async def ask(
        self, provider: "Provider", submission: Submission, intent_id: str, metadata: Mapping[str, str] | None = None
    ) -> PlannedBatch | None:
        """Raises what a plugin raises to refuse it; None where nobody is asked."""
        if not self.plugins.guarded:
            return None
        planned = planned_batch(provider, submission, intent_id, metadata)
        await self.plugins.before_submit(planned, await self._estimate(provider, submission))
        return planned

    async def watch(self, provider: "Provider", submission: Submission, batch_id: str) -> None:
        """A batch that was made without us: plugins hear of it as of any other, and cannot refuse it."""
        if not self.plugins.guarded:
            return
        planned = planned_batch(provider, submission, f"{submission.account}\x1f{batch_id}", None, batch_id)
        try:
            await self.plugins.before_submit(planned, await self._estimate(provider, submission))
        except BatchmeterError as error:
            log.warning("batch %s exists already, and a plugin would have refused it: %s", batch_id, error)

    async def dropped(self, planned: PlannedBatch | None, reason: str) -> None:
        """No batch came of it, for certain."""
        if planned is not None:
            await self.plugins.submit_dropped(planned, reason)

    async def _estimate(self, provider: "Provider", submission: Submission) -> Estimate | None:
        source = submission.input_file_id
        return None if source is None else await self.estimate(provider, submission.account, source)

    async def estimate(self, provider: "Provider", account: str, file_id: str) -> Estimate | None:
        """None where the input file was not counted as it was uploaded."""
        text = await self.ledger.file_estimate(account, file_id)
        if text is None:
            return None
        sizes = InputSizes.from_json(text)
        history = await self._history(account, provider.name)
        if len(sizes.models) <= _FEW:
            return self._price(provider, sizes, history)
        return await asyncio.to_thread(self._price, provider, sizes, history)

    def _price(self, provider: "Provider", sizes: InputSizes, history: Mapping[str, History]) -> Estimate:
        return estimate(
            sizes,
            provider=provider.name,
            prices=self.prices,
            region=provider.region,
            price_model=provider.price_model,
            history=history,
            terms=terms_of(provider),
            ask=self.plugins.price_lines if self.plugins.prices_lines else None,
        )

    async def _history(self, account: str, provider: str) -> dict[str, History]:
        """By the model that answered, and by the alias that a dated snapshot is asked for by."""
        now = self.ledger.now()
        known = self._histories.get(account)
        if known is not None and 0 <= now - known[0] < FRESH:
            return known[1]
        since = max(now - SPAN, 0) // DAY * DAY  # whole days are summed already
        rows = await cost_rows(self.ledger, ("model",), since=since, where={"account": account})
        sums: dict[str, list[int]] = {}
        for row in rows:
            for name in {row.group or "", base_model(provider, row.group or "")}:
                mine = sums.setdefault(name, [0, 0, 0])
                for place, more in enumerate((row.lines, row.usage.output_tokens, row.usage.input_tokens)):
                    mine[place] += more
        found = {name: History(*three) for name, three in sums.items()}
        self._histories[account] = now, found
        return found


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
    )
