"""The part of the ledger that tells loggers: events, and their deliveries."""

from collections.abc import Collection, Sequence
from typing import Protocol

from batchmeter.events import EventType

from .records import Delivery, DeliveryResult, DeliveryState, LoggerGauge, Millis, StoredEvent


class EventLedger(Protocol):
    """See `Ledger` for what all its methods have in common."""

    async def events(
        self,
        *,
        types: Collection[EventType] | None = None,
        after: int = 0,
        since: Millis | None = None,
        batch_id: str | None = None,
        key: str | None = None,
        limit: int = 1000,
    ) -> list[StoredEvent]:
        """In recorded order; `key` is the id of the proxy key whose batches they are about."""
        ...

    async def claim_deliveries(self, logger: str, *, owner: str, limit: int, lease_seconds: float) -> list[Delivery]:
        """Due ones in recorded order; an ending waits for the same batch's `acreate_batch` unless that is dead."""
        ...

    async def finish_deliveries(self, results: Sequence[DeliveryResult]) -> int:
        """Fenced by each delivery's token; returns how many counted."""
        ...

    async def deliveries(
        self, *, logger: str | None = None, state: DeliveryState | None = None, limit: int = 1000
    ) -> list[Delivery]: ...

    async def replay(self, logger: str, *, since: Millis | None = None, dead_only: bool = False) -> int:
        """Make events due again for this logger, also those from before it was enabled; returns how many."""
        ...

    async def abandon(self, logger: str, *, reason: str) -> int:
        """Give up all that this logger has not accepted: dead, until it is replayed; returns how many."""
        ...

    async def next_delivery_at(self, loggers: Collection[str]) -> Millis | None: ...

    async def gauges(self) -> list[LoggerGauge]: ...
