"""The host: all that a plugin may ask of the process that runs it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from .events import DurationTotals
from .models import Attribution, Frozen, LineCounts, ModelUsage, Usage, Usd
from .tables import TableRow as TableRow  # noqa: PLC0414 - plugins import them from here
from .tables import Tables as Tables  # noqa: PLC0414
from .tables import TableSession as TableSession  # noqa: PLC0414

if TYPE_CHECKING:
    from .events import AnyEvent, PluginEvent, Settlement
    from .pricing.groups import PriceQuery, PriceSource, Rates
    from .providers import Provider

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch that is about to be submitted."""

    account: str
    provider: str
    endpoint: str | None
    model: str | None
    region: str | None
    input_file_id: str | None
    attribution: Attribution
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    id: str = ""
    """Of the submission, the same for all its tries; `host.submissions` says what became of it."""
    batch_id: str | None = None
    """A batch that exists already, made by a client that is observed: it cannot be refused."""
    invented: bool = False
    """A sandbox makes up its answers: nobody pays for them."""
    enqueued_tokens: Mapping[str, int] = field(default_factory=dict[str, int])
    """The account's own limits: model, or a pattern -> tokens."""
    dry_run: bool = False
    """Only asked: nothing is submitted, so nothing is to be kept or told."""


@dataclass(frozen=True, slots=True)
class SubmissionState:
    """The outcome of a submission that `before_submit` let through."""

    state: Literal["open", "created", "closed"]
    """`open`: nobody knows yet whether there is a batch; `closed`: there is none."""
    account: str
    batch_id: str | None


@dataclass(frozen=True, slots=True)
class Tries:
    """A batch among those that were submitted for one request, each because the one before it failed."""

    attempt: int
    """How many came before it."""
    since: int
    """When the first was submitted (epoch milliseconds)."""


class EstimatedModel(Protocol):
    """One model's share of an estimate."""

    @property
    def requests(self) -> int: ...

    @property
    def input_tokens(self) -> int:
        """Likely, of the text alone."""
        ...

    @property
    def priced_as(self) -> str:
        """The model's name without snapshot, deployment or organisation."""
        ...

    @property
    def expected(self) -> Decimal | None: ...

    @property
    def upper(self) -> Decimal | None: ...


class Estimate(Protocol):
    """The cost of a batch before it is submitted, as far as it can be known."""

    @property
    def requests(self) -> int: ...

    @property
    def expected(self) -> Decimal | None:
        """USD; None where it is not known."""
        ...

    @property
    def upper(self) -> Decimal | None:
        """USD if every request uses all it may; None where it is not known."""
        ...

    @property
    def models(self) -> "Mapping[str, EstimatedModel]":
        """By the name that the requests ask for."""
        ...

    @property
    def unknown(self) -> Sequence[str]:
        """`reason: model: requests`."""
        ...


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """A file that is about to be uploaded."""

    account: str
    provider: str
    purpose: str | None
    """None: its sender has not said yet; `batch` or another is known at the end."""
    filename: str
    prices: "PriceSource"
    guarded: bool
    """Some plugin is asked (`before_submit`) before a batch of it is submitted."""


class UploadReader(Protocol):
    """A plugin's reader of an upload's bytes. A BatchmeterError of it, such as InvalidInputError, refuses the file."""

    def feed(self, chunk: bytes) -> None:
        """The next bytes, 128 KiB at most. It runs in the event loop: it has a few milliseconds."""

    def close(self) -> str | None:
        """All bytes were there: a text of at most 2,000 characters to keep with the file, or None."""


@dataclass(frozen=True, slots=True)
class EstimateQuery:
    """A batch of a file whose upload left a text."""

    document: str
    """The text that an `UploadReader` left."""
    provider: "Provider"
    prices: "PriceSource"
    ask: "Callable[[PriceQuery], Rates | None] | None"
    """The plugins' `price_lines`, which goes before `prices`; None where there is none."""


class Reservation(Protocol):
    """Whether a note is this process's to make."""

    @property
    def state(self) -> Literal["mine", "busy", "kept"]:
        """`busy`: another process makes it."""
        ...

    @property
    def document(self) -> str | None:
        """The text that was kept."""
        ...


@dataclass(frozen=True, slots=True)
class Total:
    """One account's settled batches of one status."""

    provider: str
    account: str
    status: str
    batches: int = 0
    since: datetime | None = None
    """When the first of them was settled."""
    request_counts: LineCounts = field(default_factory=LineCounts)
    models: dict[str, ModelUsage] = field(default_factory=dict[str, ModelUsage])
    """By model; the cost is that of batches in which all of the model's lines could be priced."""
    known: Usd = Decimal(0)
    """The priced part of the cost."""
    durations: DurationTotals = field(default_factory=DurationTotals)

    @property
    def unattributed(self) -> Decimal:
        """USD of `known` that belong to no model: the priced part of models that are unpriced in part."""
        return max(
            self.known - sum((one.cost for one in self.models.values() if one.cost is not None), Decimal(0)), Decimal(0)
        )


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as the ledger has it."""

    seq: int
    """Grows in the order events were recorded; pages with `after`."""
    event: "AnyEvent"
    payload: bytes
    """The event's JSON as first rendered: what every (re)delivery is made from."""


@dataclass(frozen=True, slots=True)
class LoggerGauge:
    """A logger's backlog."""

    logger: str
    pending: int
    dead: int
    delivered: int
    oldest_pending_at: int | None
    """Epoch milliseconds."""


class CostSum(Frozen, frozen=True):
    """Some batches together, or a part of them."""

    batches: int = 0
    lines: int = 0
    usage: Usage = Usage()
    total: Usd | None = Decimal(0)
    """US dollars; None when some of it is unknown."""
    known: Usd = Decimal(0)
    """The priced part; a lower bound when `total` is None."""
    unpriced_lines: int = 0
    """Lines whose cost is unknown."""
    list_lines: int = 0
    """Lines of which both the cost and the list price, that of the same outside a batch, are known."""
    list_price: Usd | None = None
    """Of these lines; None where there are none."""
    saved: Usd | None = None
    """How much less these lines cost; None where there are none."""


class CostRow(CostSum, frozen=True):
    group: str | None
    """The model, account, key's id, team, tag or UTC day; None for what has none. The first of two groups."""
    groups: dict[str, str | None]
    """By all that was asked for: `{"team": "search", "model": "gpt-5-mini"}`."""
    invented: bool = False
    """Made up by a sandbox: such batches are summed only where there are no others."""


@dataclass(frozen=True, slots=True)
class CostQuery:
    """The arguments of `host.spend`, for `host.spend_all`; `limit`: the costliest rows only, the latest of days, weeks, months."""

    group_by: Sequence[str] = ()
    since: int | None = None
    until: int | None = None
    where: Mapping[str, str | Sequence[str] | None] = field(default_factory=dict[str, "str | Sequence[str] | None"])
    limit: int | None = None


class PluginHost(Protocol):
    """The host that `startup(host)` gets. Its methods may be awaited in any event loop."""

    @property
    def ledger_url(self) -> str:
        """Names the ledger, without a password: the same for all processes that share it."""
        ...

    def now(self) -> int:
        """The ledger's clock: epoch milliseconds UTC."""
        ...

    async def events(
        self, after: int = 0, *, kinds: Sequence[str] | None = None, since: int | None = None, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        """Events in order, as recorded; the next page is `after` the last one's `seq`."""
        ...

    async def settlements(
        self, *, since: int | None = None, after: str | None = None, limit: int = 1000
    ) -> "Sequence[Settlement]":
        """Newest revision of each batch in the order of settling; the next page is `after=host.cursor(last)`."""
        ...

    def cursor(self, settlement: "Settlement") -> str: ...

    async def totals(self) -> Sequence[Total] | None:
        """Sums over all that was ever settled, pruned batches included; None while some are being pruned."""
        ...

    async def spend(
        self,
        group_by: Sequence[str] = (),
        *,
        since: int | None = None,
        until: int | None = None,
        where: Mapping[str, str | Sequence[str] | None] | None = None,
    ) -> Sequence[CostRow]:
        """The cost of batches first settled from `since` to before `until` (epoch milliseconds), summed quickly.
        `group_by`: none (one row), one or two of the groups of `client.costs`. `where`: group -> its name, several names of
        which one is its, or None for what has none."""
        ...

    async def spend_all(self, *queries: CostQuery) -> Sequence[Sequence[CostRow]]:
        """The rows of several queries at once, all as of one moment, for a page of sums.

        They are exact, and kept in memory until the next batch ends, whichever process settles it. Whole UTC days are the
        quickest: a time that begins or ends within a day is summed from that day's settlements.
        """
        ...

    async def submissions(self, ids: Sequence[str]) -> Mapping[str, SubmissionState]:
        """Of those that got as far as being sent; the others have made no batch."""
        ...

    async def submission_of(self, account: str, batch_id: str) -> str | None:
        """The `PlannedBatch.id` of a batch; None where it was not submitted through batchmeter."""
        ...

    def provider(self, account: str) -> "Provider":
        """The account's operations. UsageError where it cannot be used in this process."""
        ...

    async def tries(self, account: str, batch_id: str) -> Tries | None:
        """None where a batch cannot be submitted again: nothing was kept for it."""
        ...

    async def resubmit(self, account: str, batch_id: str) -> str:
        """The id of the batch that follows a failed one: the same request, as a submission of its own, once for all processes.

        What is kept for it is that of batches whose provider had `queue_patience`. Raises what a submission raises.
        """
        ...

    async def estimate(self, account: str, input_file_id: str) -> "Estimate | None":
        """The estimated cost of a batch of this file today; None where its requests were not counted as it was uploaded."""
        ...

    def base_model(self, provider: str, model: str) -> str:
        """A model's name without its snapshot or organisation: `gpt-5-mini` for `gpt-5-mini-2025-08-07`."""
        ...

    @property
    def prices_as_of(self) -> date | None:
        """The day of the price catalogue; None for a price source without one."""
        ...

    async def backlogs(self) -> Sequence[LoggerGauge]:
        """How far each logger is behind."""
        ...

    async def once(self, scope: str, name: str) -> bool:
        """True for the first of all processes that asks; false for all others, also after restarts."""
        ...

    async def not_once(self, scope: str, name: str) -> None:
        """Undo a `once` whose deed did not happen: the next that asks is the first."""
        ...

    async def reserve(self, scope: str, name: str, *, lease_seconds: float) -> Reservation:
        """A note that one process makes at a time: what is `mine` is kept or dropped before the lease ends."""
        ...

    async def keep(self, scope: str, name: str, document: str) -> None: ...

    async def drop(self, scope: str, name: str) -> None: ...

    def stream_file(self, account: str, file_id: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A file's content in chunks, in flat memory. Use it inside `host.run` where your loop is another."""
        ...

    async def file_content(self, account: str, file_id: str, *, max_bytes: int = 16 << 20) -> bytes:
        """At most so many bytes of a file."""
        ...

    async def store(self, name: str, migrations: Sequence[str], statements: str) -> Tables:
        """Tables of the plugin's own in the ledger's database, named `batchmeter.<name>_…`, in PostgreSQL's words: `migrations`
        are applied in order, each once for all processes; `statements` are named by `-- name: x` above each."""
        ...

    async def record(self, event: "PluginEvent") -> bool:
        """Record an event of the plugin's own kind, owed to whoever handles it; False when its id is recorded already."""
        ...

    async def redact(self, event: "AnyEvent") -> "AnyEvent":
        """The event as loggers may see it; `redact_all`: many at once."""
        ...

    async def redact_all(self, events: Sequence[Item]) -> list[Item]: ...

    def call_hook(self, name: str, /, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook that the plugin brought: (plugin's name, result) of each; one that fails is logged and left out."""
        ...

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """`work()` in the client's loop, from any other."""
        ...
