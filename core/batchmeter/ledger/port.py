"""What a ledger does, whatever database keeps it. The same contract tests run over every engine.

Times are epoch milliseconds UTC by the ledger's own clock (`now`), so that workers' clocks do not matter. Every method
is one transaction; nothing half-done is ever visible. Methods raise LedgerError with how to mend it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from batchmeter.events import AnyEvent, BatchCreated, BatchFailed, BatchSucceeded, EventType, Settlement
from batchmeter.models import Attribution, Batch, FileObject
from batchmeter.pricing.groups import Groups

Millis = int
DeliveryState = Literal["pending", "delivered", "dead"]


@dataclass(frozen=True, slots=True)
class Submission:
    """What was known when a batch was submitted or adopted; rides on every event of it."""

    account: str
    provider: str
    endpoint: str | None = None
    region: str | None = None
    input_file_id: str | None = None
    model: str | None = None
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    attribution: Attribution = field(default_factory=Attribution)
    traceparent: str | None = None
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Intent:
    """A create about to be called. `open` until its outcome is known."""

    id: str
    """Also the value of the batch's metadata key `batchmeter_id`."""
    submission: Submission
    idempotency_key: str | None = None
    created_at: Millis = 0
    state: Literal["open", "created", "closed"] = "open"
    batch_id: str | None = None
    reason: str | None = None
    """Why it was closed without a batch."""


@dataclass(frozen=True, slots=True)
class TrackedBatch:
    """One batch that the ledger knows."""

    submission: Submission
    batch: Batch
    """The newest snapshot; a final one is never replaced by an open one."""
    recorded_at: Millis
    next_poll_at: Millis | None
    """None once settled."""
    poll_count: int = 0
    error_count: int = 0
    """Consecutive failures; reset by any good answer."""
    last_error: str | None = None
    last_polled_at: Millis | None = None
    settled_at: Millis | None = None
    intent_id: str | None = None

    @property
    def account(self) -> str:
        return self.submission.account

    @property
    def batch_id(self) -> str:
        return self.batch.id


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on one batch. `token` fences: a worker whose lease was taken over cannot write."""

    tracked: TrackedBatch
    token: int
    expires_at: Millis


@dataclass(frozen=True, slots=True)
class Reschedule:
    """The end of a claim that did not settle."""

    claim: Claim
    next_poll_at: Millis
    batch: Batch | None = None
    """The new snapshot, if there was an answer."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    seq: int
    """Grows in the order events were recorded; pages with `after`."""
    event: AnyEvent
    payload: bytes
    """The event's JSON as first rendered: what every (re)delivery is made from."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one logger."""

    logger: str
    stored: StoredEvent
    state: DeliveryState = "pending"
    attempts: int = 0
    """Finished ones: 0 the first time it is claimed."""
    token: int = 0
    next_attempt_at: Millis | None = None
    delivered_at: Millis | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """How an attempt ended: `delivered`, `dead`, or `pending` again at `next_attempt_at`."""

    delivery: Delivery
    state: DeliveryState
    next_attempt_at: Millis | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class LoggerGauge:
    """A logger's backlog."""

    logger: str
    pending: int
    dead: int
    delivered: int
    oldest_pending_at: Millis | None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a file or batch is."""

    account: str
    attribution: Attribution | None = None


class Ledger(Protocol):
    """The durable store."""

    url: str
    """For messages; without a password."""

    async def open(self) -> None:
        """Connect and upgrade an older schema, under a lock. LedgerTooNewError on a newer one."""
        ...

    async def aclose(self) -> None: ...

    def now(self) -> Millis: ...

    # submit

    async def open_intent(self, intent: Intent) -> Intent:
        """Store the intent, durably; or return the one with the same account and idempotency key, unless closed."""
        ...

    async def close_intent(self, intent_id: str, reason: str) -> None: ...

    async def open_intents(self, *, created_before: Millis, limit: int = 100) -> list[Intent]: ...

    async def intent(self, intent_id: str) -> Intent | None: ...

    async def record_created(
        self,
        submission: Submission,
        batch: Batch,
        event: BatchCreated,
        *,
        loggers: Collection[str],
        next_poll_at: Millis,
        intent_id: str | None = None,
    ) -> TrackedBatch:
        """Batch row + event + one delivery a logger, and the intent becomes `created`. Known already: only returned."""
        ...

    # follow

    async def observe(self, account: str, batch: Batch) -> TrackedBatch | None:
        """A newer snapshot, seen by anyone: store it; if it is final, make the batch due now. None: not tracked."""
        ...

    async def wake(self, account: str, batch_id: str) -> bool:
        """Make an unsettled batch due now (a webhook's hint)."""
        ...

    async def get_batch(self, batch_id: str, account: str | None = None) -> TrackedBatch | None: ...

    async def list_batches(
        self,
        *,
        account: str | None = None,
        settled: bool | None = None,
        statuses: Collection[str] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[TrackedBatch]:
        """Newest first; `after` is a batch id, or account + U+001F + batch id where accounts share ids."""
        ...

    async def claim_due(
        self, *, owner: str, limit: int, lease_seconds: float, accounts: Collection[str] | None = None
    ) -> list[Claim]:
        """Due batches, most overdue first, leased; of these accounts only, if given."""
        ...

    async def claim(self, account: str, batch_id: str, *, owner: str, lease_seconds: float) -> Claim | None:
        """This batch, due or not; None if it is settled, unknown, or somebody holds it."""
        ...

    async def renew(self, claim: Claim, *, lease_seconds: float) -> Claim | None:
        """A longer lease; None when it was lost."""
        ...

    async def reschedule(self, results: Sequence[Reschedule]) -> int:
        """Release claims; returns how many were still ours."""
        ...

    async def next_due_at(self, accounts: Collection[str] | None = None) -> Millis | None: ...

    # settle

    async def settle(
        self,
        claim: Claim,
        settlement: Settlement,
        groups: Groups,
        event: BatchSucceeded | BatchFailed,
        *,
        loggers: Collection[str],
    ) -> bool:
        """Settlement + event + deliveries, once: False when the lease was lost or it is settled already.

        Deliveries go to `loggers` and to every logger that got an earlier event of this batch.
        """
        ...

    async def settlement(self, batch_id: str, account: str | None = None) -> tuple[Settlement, Groups] | None:
        """The newest revision."""
        ...

    async def settlements(
        self, *, since: Millis | None = None, after: str | None = None, limit: int = 1000
    ) -> list[tuple[Settlement, Groups]]:
        """Newest revision of each, in the order the batches were first settled; `after` as in list_batches."""
        ...

    async def revise(
        self, settlement: Settlement, groups: Groups, event: BatchSucceeded | BatchFailed, *, loggers: Collection[str]
    ) -> bool:
        """A later revision of a settled batch; False if that revision exists."""
        ...

    # events and deliveries

    async def events(
        self,
        *,
        types: Collection[EventType] | None = None,
        after: int = 0,
        since: Millis | None = None,
        batch_id: str | None = None,
        limit: int = 1000,
    ) -> list[StoredEvent]: ...

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

    async def next_delivery_at(self, loggers: Collection[str]) -> Millis | None: ...

    async def gauges(self) -> list[LoggerGauge]: ...

    # files, and what else belongs to accounts

    async def record_file(self, account: str, file: FileObject, *, attribution: Attribution | None = None) -> None: ...

    async def account_of(self, object_id: str) -> str | None:
        """The account that a file or batch id belongs to, where the ledger knows it."""
        ...

    async def owner_of(self, object_id: str, account: str | None = None) -> Owner | None:
        """Account and attribution of a file or batch; a batch's output files belong to whoever submitted it."""
        ...

    async def forget_file(self, account: str, file_id: str) -> None: ...

    async def stats(self) -> dict[str, Any]:
        """Counts for people: batches by account and status, open, overdue, events, schema version."""
        ...

    async def prune(self, *, settled_before: Millis) -> int:
        """Forget batches settled before then, with their events, unless a delivery is pending; returns how many."""
        ...
