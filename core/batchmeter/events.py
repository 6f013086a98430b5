"""The events that loggers get. Frozen; every time in them comes from the ledger, so a resend is byte-identical."""

import hashlib
import math
import re
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal, get_args

from pydantic import Field, TypeAdapter

from .errors import ConfigError
from .models import Attribution, Batch, Cost, Frozen, LineCounts, ModelUsage, RatesUsed, ReportedCost, Time, Usage

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://batchmeter.dev/events")
_NAMED = hashlib.sha1(_NAMESPACE.bytes, usedforsecurity=False)
_VERSION_5 = 5 << 76 | 2 << 62
_FREE_BITS = ~(15 << 76 | 3 << 62)
"""Of RFC 9562's name-based UUIDs."""

_WITHOUT_VERSION = re.compile(
    "/(chat/completions|completions|embeddings|images/edits|images/generations|moderations|responses|videos)"
)

EventType = Literal["acreate_batch", "batch_success", "batch_failure"]


def event_id(account: str, batch_id: str, event_type: EventType, revision: int = 1) -> str:
    """The id every delivery of this event carries, today and after any restart: dedupe by it."""
    name = "\x1f".join((account, batch_id, event_type, str(revision))).encode()
    digest = _NAMED.copy()  # what uuid5 does, in a quarter of its time: every submission waits for this
    digest.update(name)
    bits = int.from_bytes(digest.digest()[:16]) & _FREE_BITS | _VERSION_5
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def full_endpoint(url: str | None) -> str | None:
    """`/chat/completions`, as some APIs write it, is `/v1/chat/completions`; other paths are kept."""
    return f"/v1{url}" if url and _WITHOUT_VERSION.fullmatch(url) else url


class BatchTimes(Frozen, frozen=True):
    """The provider's timestamps (UTC) and the durations that follow from them (seconds); None where it sent none."""

    created_at: Time | None = None
    in_progress_at: Time | None = None
    finalizing_at: Time | None = None
    ended_at: Time | None = None
    expires_at: Time | None = None
    queue_seconds: float | None = None
    """created -> in_progress."""
    run_seconds: float | None = None
    """in_progress -> ended."""
    total_seconds: float | None = None
    """created -> ended."""


class DurationTotals(Frozen, frozen=True):
    """From creation to end, of those batches of which it is known."""

    minutes: dict[int, int] = Field(default_factory=dict[int, int])
    """Minutes, begun ones counted whole -> batches."""
    seconds: float = 0.0
    shortest: float = 0.0
    longest: float = 0.0

    def plus(self, took: Sequence[float]) -> "DurationTotals":
        if not took:
            return self
        minutes = Counter(self.minutes)
        minutes.update(math.ceil(seconds / 60) for seconds in took)
        return DurationTotals(
            minutes=dict(minutes),
            seconds=self.seconds + sum(took),
            shortest=min(took) if not self.minutes else min(self.shortest, *took),
            longest=max(self.longest, *took),
        )


class Event(Frozen, frozen=True):
    """Members of all events."""

    id: str
    """UUIDv5 of (account, batch id, type, revision)."""
    type: EventType
    time: Time
    """When batchmeter recorded it."""
    account: str
    provider: str
    batch_id: str
    batch: Batch
    """As the provider showed it at that moment, without batchmeter's own metadata tag."""
    endpoint: str | None = None
    region: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict[str, str])
    """The caller's, from submission."""
    attribution: Attribution = Attribution()
    traceparent: str | None = None
    """W3C trace context of the submission."""
    adopted: bool = False
    """True when the batch was found at the provider, not submitted through batchmeter."""
    revision: int = 1


class PluginEvent(Frozen, frozen=True):
    """Members of every event of a plugin's own kind; a subclass says `type: Literal["budget_alert"] = "budget_alert"`.

    It is about no batch, or about one that it names.
    """

    id: str
    """The same for the same thing, from any process: what is recorded already is not recorded again."""
    type: str
    """The kind: the name of the hook that loggers implement for it."""
    time: Time
    account: str = ""
    provider: str = ""
    batch_id: str = ""
    revision: int = 1
    metadata: dict[str, str] = Field(default_factory=dict[str, str])
    attribution: Attribution = Attribution()
    traceparent: str | None = None


class AlertEvent(PluginEvent, frozen=True):
    """A plugin's event that is for people: a base of kinds that every logger can show."""

    kind: str
    """Why it was raised."""
    message: str
    """One sentence."""


class UnknownEvent(PluginEvent, frozen=True, extra="allow"):
    """An event of a kind whose plugin is not here."""


INVENTED = "invented"
"""Note: a sandbox made up the answers, so the cost is nobody's: sums leave it out."""


class Outcome(Frozen, frozen=True):
    """The outcome of a finished batch."""

    status: str
    """`completed`, `failed`, `expired` or `cancelled`."""
    request_counts: LineCounts = LineCounts()
    usage: Usage = Usage()
    cost: Cost = Cost()
    models: dict[str, ModelUsage] = Field(default_factory=dict[str, ModelUsage])
    """By the model that answered, as the provider names it; `unknown` where no line or batch says."""
    times: BatchTimes = BatchTimes()
    notes: tuple[str, ...] = ()
    """Notes for the reader: `usage_mismatch`, `output_unavailable`, `reported_cost_differs`, `invented`, …"""
    reported_usage: Usage | None = None
    """The provider's own batch-level sums, where it sends them."""
    reported_cost: ReportedCost | None = None
    """The vendor's own amounts, where its rows name any; beside `cost`, and used in it where ours is unknown."""
    rates: tuple[RatesUsed, ...] = ()
    """Rates that every group of lines was priced at; empty in events older than the field."""
    missing: int = 0
    """Requests, by the provider's count, without a line in its files; `batchmeter check` names them."""
    duplicates: int = 0
    """Lines whose custom_id came before, counted and billed as lines; `batchmeter check` names them."""

    @property
    def known_cost(self) -> Decimal:
        """The priced part of the cost in USD, whatever else is unknown."""
        return self.cost.known

    @property
    def invented(self) -> bool:
        """Whether a sandbox made up the answers: nobody pays for them."""
        return INVENTED in self.notes


class BatchCreated(Event, frozen=True):
    """A batch was accepted by its provider."""

    type: Literal["acreate_batch"] = "acreate_batch"


class BatchSucceeded(Event, Outcome, frozen=True):
    """A batch completed. Lines in it may still have failed: see `request_counts`."""

    type: Literal["batch_success"] = "batch_success"


class BatchFailed(Event, Outcome, frozen=True):
    """A batch failed, expired or was cancelled. Lines finished before that are metered and billed."""

    type: Literal["batch_failure"] = "batch_failure"


class Settlement(Outcome, frozen=True):
    """The result that `batches.wait` returns and the ledger keeps: one per batch and revision."""

    account: str
    provider: str
    batch_id: str
    batch: Batch
    endpoint: str | None = None
    region: str | None = None
    revision: int = 1
    settled_at: Time


AnyEvent = Annotated[BatchCreated | BatchSucceeded | BatchFailed, Field(discriminator="type")]

EVENT: TypeAdapter[BatchCreated | BatchSucceeded | BatchFailed] = TypeAdapter(AnyEvent)
"""Reads an event back from the JSON the ledger and the file logger keep."""

_MODELS: dict[str, type[PluginEvent]] = {}
BATCH_KINDS: tuple[EventType, ...] = get_args(EventType)


def register_event(model: type[PluginEvent]) -> None:
    """A kind that a plugin brings. ConfigError where it has no kind of its own, or another model has it."""
    kind: object = model.model_fields["type"].default
    if not isinstance(kind, str) or kind in BATCH_KINDS or not kind.isidentifier():
        raise ConfigError(f'{model.__name__} has no kind of its own: type: Literal["my_kind"] = "my_kind"')
    if _MODELS.setdefault(kind, model).__qualname__ != model.__qualname__:
        raise ConfigError(f"event kind {kind!r} is registered already, as {_MODELS[kind].__qualname__}")


def event_kinds() -> tuple[str, ...]:
    """Every kind that this process knows."""
    return (*BATCH_KINDS, *_MODELS)


def model_of_kind(kind: str) -> type[PluginEvent]:
    """Of a kind that is no batch's."""
    return _MODELS.get(kind, UnknownEvent)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One who is owed events, as a process has it."""

    name: str
    kinds: frozenset[str] = frozenset()
    """Event kinds that it handles, and `redact` for a redactor; without any it is owed nothing."""
    scoped: bool = False
    """A program's callback: owed only batches that name it, or that its process settles."""
    problem: str = ""
    """Why this process cannot use it: its events wait for one that can."""
