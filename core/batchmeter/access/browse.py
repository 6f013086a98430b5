"""Batches for people: pages of them with what each cost, and one batch with all that became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from batchmeter.events import EventType, Settlement
from batchmeter.ledger import serialize
from batchmeter.ledger.batches import at
from batchmeter.ledger.records import DeliveryState, Millis, TrackedBatch
from batchmeter.ledger.session import Row, Session
from batchmeter.spend.figures import Kind
from batchmeter.spend.periods import DAY_MILLIS

_SCANNED = 200
"""Rows of one query where some of a filter is decided here."""
_MOST_SCANNED = 2000
"""Rows that one page looks at: a rare match takes several pages, each as quick as another."""
_MOST_DELIVERIES = 500


@dataclass(frozen=True, slots=True)
class BatchFilter:
    """A page's choice of batches; a field that is None chooses all."""

    accounts: tuple[str, ...] | None = None
    key: str | None = None
    """The id of the proxy key that submitted them."""
    statuses: tuple[str, ...] | None = None
    settled: bool | None = None
    unknown: bool = False
    """With lines whose cost is unknown."""
    failures: bool = False
    """Failed, expired, or with failed requests by their provider's count."""
    late: bool = False
    """Past the provider's own limit, whether ended or not."""
    model: str | None = None
    """As submitted, as the provider's batch says, or that answered any of its lines."""
    team: str | None = None
    tag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    costliest: bool = False
    """Settled batches by their known cost, the highest first; else the newest."""

    def fits(self, shown: "SeenBatch", now: Millis) -> bool:
        """Whether a batch is chosen by what only its documents say."""
        tracked, submission, batch = shown.tracked, shown.tracked.submission, shown.tracked.batch
        owner = submission.attribution
        answered = shown.settlement.models if shown.settlement else ()
        return (
            (not self.failures or _has_failures(tracked))
            and (not self.late or _is_late(tracked, now))
            and (self.model in (None, submission.model, batch.model) or self.model in answered)
            and self.team in (None, owner.team)
            and (self.tag is None or self.tag in owner.tags)
            and all(submission.metadata.get(name) == value for name, value in self.metadata.items())
        )


@dataclass(frozen=True, slots=True)
class SeenBatch:
    tracked: TrackedBatch
    settlement: Settlement | None
    """The newest revision."""


@dataclass(frozen=True, slots=True)
class BatchPage:
    data: tuple[SeenBatch, ...]
    next: str | None
    """For `after`; None at the end. A page with a `next` may be short, even empty: more has to be looked at."""


@dataclass(frozen=True, slots=True)
class BatchDelivery:
    """One event of a batch on its way to one logger."""

    logger: str
    type: EventType
    revision: int
    recorded_at: Millis
    state: DeliveryState
    attempts: int
    next_attempt_at: Millis | None
    delivered_at: Millis | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class BatchHistory:
    tracked: TrackedBatch
    revisions: tuple[Settlement, ...]
    """Oldest first; none while it is not settled."""
    deliveries: tuple[BatchDelivery, ...]


@dataclass(frozen=True, slots=True)
class UnknownCost:
    """Lines of one model in one account whose cost is unknown for one reason."""

    reason: str
    model: str
    """Empty where nothing names one."""
    account: str
    batches: int
    lines: int
    first_day: int
    """Since 1970: when the first of them was settled."""


async def unknown_costs(
    session: Session, chosen: BatchFilter, *, since: Millis, until: Millis, limit: int, invented: bool
) -> list[UnknownCost]:
    """From the sums, of whole UTC days from `since` to before `until`; of the filter, accounts and key count."""
    rows = await session.rows(
        "unknown_costs",
        kind=int(Kind.MODELS | Kind.INVENTED if invented else Kind.MODELS),
        first=since // DAY_MILLIS,
        last=(until - 1) // DAY_MILLIS,
        accounts=serialize.or_none(chosen.accounts),
        key=chosen.key,
        limit=limit,
    )
    names = UnknownCost.__slots__
    return [UnknownCost(**{name: row[name] for name in names}) for row in rows if row["lines"] > 0]


async def browse(session: Session, chosen: BatchFilter, *, after: str | None, limit: int) -> BatchPage:
    cursor = None
    if after is not None:
        cursor = await at(session, after, None)
        if cursor is None:
            return BatchPage((), None)
    found, last = await _scan(session, chosen, cursor, limit)
    if chosen.model is None:
        found = await _with_costs(session, [row for _, row in found])
    data = [one for one, _ in found]
    return BatchPage(tuple(data), None if last is None else f"{last['account']}\x1f{last['batch_id']}")


_Found = list[tuple[SeenBatch, Row]]


async def _with_costs(session: Session, rows: Sequence[Row], *, costs: bool = True) -> _Found:
    """Rows as batches; `costs`: with what each came to. One that cannot be read is left out, and logged."""
    pks = [{"pk": row["pk"]} for row in rows] if costs else []
    settled = {row["batch_pk"]: row for row in await session.each("newest_settlement", pks)}

    def shown(row: Row) -> tuple[SeenBatch, Row]:
        cost = settled.get(row["pk"])
        return SeenBatch(serialize.tracked(row), None if cost is None else serialize.settlement(cost)), row

    return await serialize.readable(session, rows, shown)


async def _scan(session: Session, chosen: BatchFilter, cursor: Row | None, limit: int) -> tuple[_Found, Row | None]:
    """The page's batches, and the last row looked at where there is more."""
    found: _Found = []
    scanned, size = 0, max(limit + 1, _SCANNED)
    statement = "costliest_batches" if chosen.costliest else "browse_batches"
    while True:
        place = {} if cursor is None else {"before": cursor["pk"], "usd": cursor["known_usd"]}
        rows = await session.rows(statement, limit=size, **place, **_columns(chosen))
        for one, row in await _with_costs(session, rows, costs=chosen.model is not None):
            if chosen.fits(one, session.now):
                if len(found) == limit:
                    return found, found[-1][1]
                found.append((one, row))
        if len(rows) < size:
            return found, None
        scanned, cursor = scanned + len(rows), rows[-1]
        if scanned >= _MOST_SCANNED:
            return found, rows[-1]


def _columns(chosen: BatchFilter) -> dict[str, object]:
    return {
        "accounts": serialize.or_none(chosen.accounts),
        "key": chosen.key,
        "statuses": serialize.or_none(chosen.statuses),
        "settled": chosen.settled is True,
        "unsettled": chosen.settled is False,
        "unknown": chosen.unknown,
    }


async def history(session: Session, batch_id: str, account: str) -> BatchHistory | None:
    row = await session.row("get_batch", batch_id=batch_id, account=account)
    if row is None:
        return None
    settled = await session.rows("settlements_of_batch", pk=row["pk"])
    owed = await session.rows("deliveries_of_batch", batch_id=row["batch_id"], account=account, limit=_MOST_DELIVERIES)
    names = BatchDelivery.__slots__
    deliveries = tuple(BatchDelivery(**{name: one[name] for name in names}) for one in owed)
    revisions = await serialize.readable(session, settled, serialize.settlement)
    return BatchHistory(serialize.tracked(row), tuple(revisions), deliveries)


def _has_failures(tracked: TrackedBatch) -> bool:
    counts = tracked.batch.request_counts
    return tracked.batch.status in {"failed", "expired"} or bool(counts and counts.failed)


def _is_late(tracked: TrackedBatch, now: Millis) -> bool:
    batch = tracked.batch
    end = batch.ended_at or (None if batch.ended else now // 1000)
    return batch.expires_at is not None and end is not None and end > batch.expires_at


async def open_batches(session: Session, key_id: str) -> int:
    """How many unsettled batches it has."""
    row = await session.row("open_batches_of_key", key_id=key_id)
    return 0 if row is None else int(row["open"])


async def batches_of_key(
    session: Session, key_id: str, account: str, *, after: str | None = None, limit: int
) -> list[TrackedBatch] | None:
    """Batches that it submitted, newest first; None: it has no batch `after`."""
    before = None
    if after is not None:
        cursor = await session.row("get_batch", batch_id=after, account=account)
        if cursor is None or cursor["key_id"] != key_id:
            return None
        before = cursor["pk"]
    found = await session.rows("batches_of_key", key_id=key_id, account=account, before=before, limit=limit)
    return await serialize.readable(session, found, serialize.tracked)


async def files_of_key(
    session: Session, key_id: str, account: str, *, after: str | None = None, oldest_first: bool = False, limit: int
) -> list[str] | None:
    """Ids of what it uploaded and what its batches put out, as they became known; None: it has no file `after`."""
    whose: dict[str, object] = {"key_id": key_id, "account": account, "file_id": after}
    cursor = None if after is None else await session.row("file_of_key", **whose)
    if after is not None and cursor is None:
        return None
    found = await session.rows(
        "files_of_key_oldest_first" if oldest_first else "files_of_key",
        **whose,
        before=None if cursor is None else cursor["recorded_at"],
        limit=limit,
    )
    return [str(row["file_id"]) for row in found]
