"""What a ledger does, whatever database keeps it. The same contract tests run over every engine.

Times are epoch milliseconds UTC by the ledger's own clock (`now`), so that workers' clocks do not matter. Every method
is one transaction; nothing half-done is ever visible. Methods raise LedgerError with how to mend it.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, Settlement
from batchmeter.models import Attribution, Batch, FileObject
from batchmeter.pricing.groups import Groups

from .event_port import EventLedger
from .forgotten import Forgotten
from .key_records import Answer, KeyLimits, LimitName, Place, ProxyKey
from .proxy_port import ProxyLedger
from .records import (
    Again,
    Claim,
    CostGauge,
    Delivery,
    DeliveryResult,
    DeliveryState,
    Intent,
    LoggerGauge,
    Millis,
    Owner,
    Reschedule,
    Settled,
    StoredEvent,
    Submission,
    Topic,
    TrackedBatch,
)

__all__ = [
    "Again",
    "Answer",
    "Claim",
    "CostGauge",
    "Delivery",
    "DeliveryResult",
    "DeliveryState",
    "Forgotten",
    "Intent",
    "KeyLimits",
    "Ledger",
    "LimitName",
    "LoggerGauge",
    "Millis",
    "Owner",
    "Place",
    "ProxyKey",
    "Reschedule",
    "Settled",
    "StoredEvent",
    "Submission",
    "Topic",
    "TrackedBatch",
]


class Ledger(EventLedger, ProxyLedger, Protocol):
    """The durable store."""

    url: str
    """For messages; without a password."""

    async def open(self, *, create: bool = True) -> None:
        """Connect and upgrade an older schema, under a lock; where there is none, make one unless told not to.

        LedgerTooNewError on a newer one.
        """
        ...

    async def aclose(self) -> None: ...

    def now(self) -> Millis: ...

    async def listen(self, heard: Callable[[Topic], None]) -> None:
        """Calls `heard` when any process may have made work, until cancelled. A hint: poll all the same.

        Returns at once where the engine cannot tell (SQLite).
        """
        ...

    # submit

    async def open_intent(self, intent: Intent) -> Intent:
        """Store the intent, durably; or return the one with the same account and idempotency key, unless closed."""
        ...

    async def close_intent(self, intent_id: str, reason: str) -> None: ...

    async def open_intents(
        self, *, created_before: Millis, limit: int = 100, account: str | None = None
    ) -> list[Intent]:
        """The oldest `limit` of each account."""
        ...

    async def intent(self, intent_id: str) -> Intent | None: ...

    async def intent_of(self, account: str, idempotency_key: str) -> Intent | None:
        """The one that a create with this key would be given in place of a new one."""
        ...

    async def record_created(
        self,
        submission: Submission,
        batch: Batch,
        event: BatchCreated,
        *,
        loggers: Collection[str],
        next_poll_at: Millis,
        intent_id: str | None = None,
        durable: bool = True,
    ) -> TrackedBatch:
        """Batch row + event + one delivery a logger, and the intent becomes `created`. Known already: only returned.

        Not `durable`: does not wait for the disk. What a power cut takes back then is found again by its intent.
        """
        ...

    # follow

    async def observe(self, account: str, batch: Batch) -> TrackedBatch | None:
        """A newer snapshot, seen by anyone: store it; if it is final, make the batch due now. None: not tracked."""
        ...

    async def observe_endings(self, account: str, ended: Sequence[Batch]) -> set[str]:
        """As `observe`, for final snapshots of many; returns the ids of those that are tracked and not settled."""
        ...

    async def wake(self, account: str, batch_id: str) -> bool:
        """Make an unsettled batch due now (a webhook's hint)."""
        ...

    async def get_batch(self, batch_id: str, account: str | None = None) -> TrackedBatch | None: ...

    async def batches_of_id(self, batch_id: str) -> list[TrackedBatch]:
        """One for each account that has this id, newest first."""
        ...

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

    async def failed(
        self, account: str, *, since: Millis, after: str | None = None, limit: int = 1000
    ) -> list[TrackedBatch]:
        """Batches settled as `failed` from then on, in the order of settling; `after` as in list_batches."""
        ...

    async def claim_due(
        self, *, owner: str, limit: int, lease_seconds: float, accounts: Collection[str] | None = None
    ) -> list[Claim]:
        """Due batches, most overdue first, leased; of these accounts only, if given."""
        ...

    async def claim(
        self, account: str, batch_id: str, *, owner: str, lease_seconds: float, polled: int | None = None
    ) -> Claim | None:
        """This batch, due or not; None if it is settled, unknown, or somebody holds it.

        Also None where its `poll_count` is no longer `polled`: somebody has taken a step since.
        """
        ...

    async def renew(self, held: Sequence[Claim], *, lease_seconds: float) -> list[Claim]:
        """Longer leases; those that were lost are left out."""
        ...

    async def reschedule(self, results: Sequence[Reschedule]) -> int:
        """Release claims; returns how many were still ours."""
        ...

    async def put_off(self, account: str, looks: Collection[tuple[str, Millis]], *, asked: Millis) -> int:
        """Batch id -> when to look next, as a list that was asked for then showed it open.

        Not where it is held, planned for later, or has become due since.
        """
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

    async def costs(
        self,
        *,
        since: Millis | None = None,
        until: Millis | None = None,
        key: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> list[Settled]:
        """Newest revision of each batch first settled from `since` to before `until`, of one key if given."""
        ...

    async def cost_gauges(self) -> list[CostGauge]:
        """Counts and rough sums by account and status, quickly."""
        ...

    async def revise(
        self, settlement: Settlement, groups: Groups, event: BatchSucceeded | BatchFailed, *, loggers: Collection[str]
    ) -> bool:
        """A later revision of a settled batch; False if that revision exists."""
        ...

    # files, and what else belongs to accounts

    async def record_file(
        self, account: str, file: FileObject, *, attribution: Attribution | None = None, lines: int | None = None
    ) -> None:
        """Known already: what is None now stays as it was."""
        ...

    async def account_of(self, object_id: str) -> str | None:
        """The account that a file or batch id belongs to, where the ledger knows it."""
        ...

    async def owner_of(self, object_id: str, account: str | None = None) -> Owner | None:
        """Account and attribution of a file or batch; a batch's output files belong to whoever submitted it."""
        ...

    async def owners_of(self, object_ids: Collection[str], account: str | None = None) -> dict[str, Owner]:
        """As `owner_of`, of those that are known."""
        ...

    async def forget_file(self, account: str, file_id: str) -> None: ...

    # upkeep

    async def stats(self) -> dict[str, Any]:
        """Counts for people: batches by account and status, open, overdue, events, schema version."""
        ...

    async def forgotten(self) -> list[Forgotten]:
        """What pruned batches came to, by provider, account and status."""
        ...

    async def prune(self, *, settled_before: Millis) -> int:
        """Forget batches settled before then, with their events, unless a delivery is pending; returns how many."""
        ...
