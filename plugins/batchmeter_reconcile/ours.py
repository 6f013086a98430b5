"""Ours: what the ledger's settled batches used and cost, by the UTC days on which the vendor may have booked it."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Literal

from batchmeter.models import RatesUsed

from .figures import EXACT, KIND_OF, TOKEN_KINDS

if TYPE_CHECKING:
    from batchmeter.events import BatchCreated, Settlement
    from batchmeter.host import PluginHost

BooksAt = Literal["use", "end", "create"]
BATCH = "batch"
MILLION = Decimal(1_000_000)
UNNAMED = "unknown"
PAGE = 100
"""Rows between which other work of the event loop goes on."""
_LATE = timedelta(days=1)
"""A batch may be settled before the provider's clock says that it ended."""
_LONGEST_OPEN = timedelta(days=15)
"""No vendor keeps a batch open for longer."""
_SAMPLE = 5
ENDINGS = ("batch_success", "batch_failure")
PARTIAL = frozenset({"cancelled", "expired"})


@dataclass(frozen=True, slots=True)
class Window:
    """UTC days on which a batch may have been booked, the last one included."""

    first: date
    last: date


@dataclass(slots=True)
class Tally:
    """One kind of one model in one window."""

    units: int = 0
    cost: Decimal | None = Decimal(0)
    """USD; None as soon as a part of it has no known price."""

    def add(self, units: int, cost: Decimal | None) -> None:
        self.units += units
        self.cost = None if cost is None or self.cost is None else self.cost + cost


@dataclass(slots=True)
class Batches:
    """The batches of one model in one window: what may explain a difference."""

    count: int = 0
    unanswered: int = 0
    """Requests without an answer: the vendor may count so many more than we do."""
    partial: list[str] = field(default_factory=list[str])
    """Some that were cancelled or expired."""
    failing: list[str] = field(default_factory=list[str])
    """Some with lines that failed or are missing."""
    repeated: list[str] = field(default_factory=list[str])
    """Some with lines whose custom_id came before."""
    sample: list[str] = field(default_factory=list[str])

    def add(self, settlement: "Settlement") -> None:
        counts, batch_id = settlement.request_counts, settlement.batch_id
        self.count += 1
        self.unanswered += counts.failed + counts.malformed + settlement.missing
        _keep(self.sample, batch_id)
        if settlement.status in PARTIAL:
            _keep(self.partial, batch_id)
        if counts.failed or counts.malformed or settlement.missing:
            _keep(self.failing, batch_id)
        if settlement.duplicates:
            _keep(self.repeated, batch_id)


def _keep(names: list[str], batch_id: str) -> None:
    if len(names) < _SAMPLE:
        names.append(batch_id)


@dataclass(slots=True)
class Ours:
    """Sums of the ledger, in memory that grows with days and models, not with batches."""

    books_at: BooksAt = "use"
    tallies: dict[tuple[str, str, Window], Tally] = field(default_factory=dict[tuple[str, str, Window], Tally])
    """(model, kind, window) -> its sum."""
    batches: dict[tuple[str, Window], Batches] = field(default_factory=dict[tuple[str, Window], Batches])
    endpoints: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Model -> the endpoints that its batches called."""
    open: dict[str, date] | None = None
    """Read where it matters: batches without a settlement -> the day since which they may be booked."""
    providers: Counter[str] = field(default_factory=Counter[str])
    settled: int = 0
    pruned: int = 0
    """Batches of these days that the ledger has sums of only."""

    @property
    def models(self) -> set[str]:
        return {model for model, _, _ in self.tallies}

    def add(self, settlement: "Settlement") -> None:
        window = window_of(settlement, self.books_at)
        self.settled += 1
        self.providers[settlement.provider] += 1
        with localcontext(EXACT):
            for model, kind, units, cost in _parts(settlement):
                self.tallies.setdefault((model, kind, window), Tally()).add(units, cost)
        for model in {model for model, _, _, _ in _parts(settlement)}:
            self.batches.setdefault((model, window), Batches()).add(settlement)
            self.endpoints.setdefault(model, set()).add(settlement.endpoint or "")


def window_of(settlement: "Settlement", books_at: BooksAt) -> Window:
    """From the provider's times; the day of settling where it names none."""
    times = settlement.times
    ended = times.ended_at or settlement.settled_at
    made = times.created_at or times.in_progress_at or ended
    if books_at == "end":
        made = began = ended
    else:
        began = times.in_progress_at or made
    if books_at == "create":
        began = ended = made
    first, last = _day(began), _day(ended)
    return Window(min(first, last), last)


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _parts(settlement: "Settlement") -> Iterator[tuple[str, str, int, Decimal | None]]:
    """Model, kind, units and cost; lines that the vendor served and bills outside of the batch are left out."""
    for used in settlement.rates:
        if used.processing == BATCH:
            yield from _of_rates(used)
    if not settlement.rates:
        yield from _without_rates(settlement)


def _of_rates(used: RatesUsed) -> Iterator[tuple[str, str, int, Decimal | None]]:
    model = used.priced_as or used.model or UNNAMED
    yield model, "requests", used.lines, Decimal(0)
    for kind in ("prompt", *sorted({KIND_OF[bucket] for bucket in used.units if bucket in KIND_OF})):
        buckets = TOKEN_KINDS.get(kind, frozenset({kind}))
        held = {bucket: units for bucket, units in used.units.items() if bucket in buckets and units}
        yield model, kind, sum(held.values()), _cost(used, held)


def _cost(used: RatesUsed, held: Mapping[str, int]) -> Decimal | None:
    if not held.keys() <= used.usd_per_million.keys():
        return None
    return sum((units * used.usd_per_million[bucket] for bucket, units in held.items()), Decimal(0)) / MILLION


def _without_rates(settlement: "Settlement") -> Iterator[tuple[str, str, int, Decimal | None]]:
    """Settlements older than the rates know tokens, and no price of each kind."""
    for model, share in settlement.models.items():
        usage = share.usage
        written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
        yield model, "requests", share.lines, Decimal(0)
        yield model, "prompt", usage.input_tokens, None
        yield model, "cached_input", usage.cached_input_tokens, None
        yield model, "cache_write", written, None
        yield model, "uncached_input", usage.input_tokens - usage.cached_input_tokens - written, None
        yield model, "output", usage.output_tokens, None


async def read_ours(
    host: "PluginHost", accounts: Collection[str], first: date, last: date, books_at: BooksAt, *, invented: bool = False
) -> Ours:
    """Batches of these accounts that may have been booked from `first` to `last`; a sandbox's only where `invented`."""
    found, since, after = Ours(books_at), millis(first - _LATE), None
    counted = 0
    while page := await host.settlements(since=since, after=after, limit=PAGE):
        for one in page:
            if one.account not in accounts or (one.invented and not invented):
                continue
            counted += not one.invented
            window = window_of(one, books_at)
            if window.first <= last and window.last >= first:
                found.add(one)
        after = host.cursor(page[-1])
    sums = await host.spend(("account",), since=since, where={"account": list(accounts)})
    found.pruned = max(sum(row.batches for row in sums if not row.invented) - counted, 0)
    return found


async def read_open(host: "PluginHost", accounts: Collection[str], last: date) -> dict[str, date]:
    """Batches that have not ended, made by the end of `last`."""
    since = host.now() - int(_LONGEST_OPEN.total_seconds() * 1000)
    found: dict[str, date] = {}
    after = 0
    while page := await host.events(after, kinds=("acreate_batch", *ENDINGS), since=since, limit=PAGE):
        for stored in page:
            event = stored.event
            if event.account not in accounts:
                continue
            if event.type in ENDINGS:
                found.pop(event.batch_id, None)
            else:
                made = _made(event)  # type: ignore[arg-type]  # the only other kind that was asked for
                if made <= last:
                    found[event.batch_id] = made
        after = page[-1].seq
    return found


def _made(event: "BatchCreated") -> date:
    created = event.batch.in_progress_at or event.batch.created_at
    return _day(event.time if created is None else datetime.fromtimestamp(created, UTC))


def millis(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
