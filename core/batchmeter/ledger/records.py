"""The records that a ledger takes and gives: submissions, tracked batches, claims, deliveries, proxy keys."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from batchmeter.host import LoggerGauge as LoggerGauge  # noqa: PLC0414 - the host gives them as they are
from batchmeter.host import StoredEvent as StoredEvent  # noqa: PLC0414
from batchmeter.models import Attribution, Batch, Frozen

from .session import Millis as Millis  # noqa: PLC0414 - records are made of it

DeliveryState = Literal["pending", "delivered", "dead"]


@dataclass(frozen=True, slots=True)
class Again:
    """Members for submitting the same request once more, kept where the account waits for room in a queue."""

    output_expires_after: dict[str, Any] | None = None
    extra_body: dict[str, Any] = field(default_factory=dict[str, Any])
    first_id: str | None = None
    """The batch that this one is another try of."""
    attempt: int = 0
    """How many tries came before it."""
    since: Millis | None = None
    """When the first was made."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Facts known when a batch was submitted or adopted; rides on every event of it."""

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
    again: Again | None = None
    id_reused: int | None = None
    """Set where an earlier batch of the account had the same id (a server that counts from 1 again): its row's number."""
    callbacks: tuple[str, ...] = ()
    """Callbacks of the program that submitted it: they are owed its events, whichever process records them."""


def progress_of(batch: Batch) -> int:
    """How many requests it says are completed; -1 where nothing says that it has started."""
    counts = batch.request_counts
    done = (counts.completed, counts.failed) if counts else (0, 0)
    started = batch.in_progress_at or batch.finalizing_at or batch.status in {"in_progress", "finalizing"} or any(done)
    return done[0] if started else -1


def is_same(known: Batch, shown: Batch) -> bool:
    """Whether both may be one batch: servers of one's own may count their ids from 1 again after a restart."""
    pairs = [(known.created_at, shown.created_at), (known.input_file_id, shown.input_file_id)]
    return all(first is None or second is None or first == second for first, second in pairs)


def is_another(known: Batch, shown: Batch) -> bool:
    """Whether they are surely two, by all that both say: some servers give a new `created_at` with each answer."""
    pairs = [(known.created_at, shown.created_at), (known.input_file_id, shown.input_file_id)]
    return all(first is not None and second is not None and first != second for first, second in pairs)


def event_name(submission: Submission, batch_id: str) -> str:
    """The batch's id, as its events' ids are made of it: two batches of one id must not share these."""
    return batch_id if submission.id_reused is None else f"{batch_id}~{submission.id_reused}"


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
    request_sha256: str | None = None
    """Digest of the request that has the idempotency key; None where nobody compares."""
    rivals: tuple[str, ...] = field(default=(), compare=False)
    """Other keys whose creates send some of the same requests: one of them that is not closed stands for this. Not stored."""


class Attempts(msgspec.Struct, frozen=True, gc=False):
    """Looks at an ended batch that met one trouble, since its first."""

    trouble: str
    since: Millis
    looks: int = 1
    last: Millis = 0
    """When the latest of them was; 0 where an older release wrote this."""
    jump: Millis = 0
    """Of the time between two of them, at most so much was a clock that jumped ahead, or nobody's look: it does not count."""

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since / 1000, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        return f"{self.trouble}: look {self.looks} since {since}Z"


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
    attempts: tuple[Attempts, ...] = ()
    """Troubles that keep its ending from being read, newest trouble first."""
    progress: int = -1
    """The most completed requests that any look has shown; -1 until one shows that it has started."""
    retired_id: str | None = None
    """The ledger's name of a batch whose id another one has now; nobody can ask its provider for it any more."""

    @property
    def account(self) -> str:
        return self.submission.account

    @property
    def batch_id(self) -> str:
        """The ledger's name of it: the provider's id, unless another batch has that now."""
        return self.retired_id or self.batch.id


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
    attempts: tuple[Attempts, ...] = ()
    """Failed attempts, this look included; none where it found the batch open."""


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
class Subscribed:
    """One who is owed events, as the ledger knows it."""

    name: str
    kinds: frozenset[str] | None
    """None: not known yet, so all."""
    scoped: bool
    since: Millis
    last_seen: Millis | None
    """When a process last had it working."""
    ended_at: Millis | None = None
    """When it was abandoned."""
    problem: str | None = None
    """Reason of the last process that could not use it."""
    owed: int = 0
    oldest_owed_at: Millis | None = None
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a file or batch."""

    account: str
    attribution: Attribution | None = None
    lines: int | None = None
    """Requests in it, for an input file that was counted when it was uploaded."""


class Answer(Frozen, frozen=True):
    """The answer to a request with an idempotency key, or that it is still on its way."""

    state: Literal["mine", "busy", "kept"]
    """`mine`: nobody has answered; keep or drop it. `busy`: another request with the same key is being answered."""
    document: str | None = None
    request_sha256: str | None = None
    """Of the request that it is the answer to, where that was told."""
