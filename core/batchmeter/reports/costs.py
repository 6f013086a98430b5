"""The cost report: settled batches summed by model, account, key, team, tag or day, exactly, with the unknown part."""

import asyncio
import datetime as dt
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Literal, get_args

import msgspec

from batchmeter.errors import UsageError
from batchmeter.events import INVENTED
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Millis, Settled, Share, Sums
from batchmeter.models import Frozen, Usage, Usd

GroupBy = Literal["model", "account", "key", "team", "tag", "day"]
GROUPINGS: tuple[GroupBy, ...] = get_args(GroupBy)

_PAGE = 25
"""Settlements summed before the event loop gets a turn: a millisecond, as fast as more at a time."""
_SLICE = 500
"""Shares of groups added up, and rows made, before the loop gets a turn: a batch may have thousands of tags."""
_EXACT = Context(prec=60)
"""More digits than any sum of money has: nothing is rounded."""


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


class CostRow(CostSum, frozen=True):
    group: str | None
    """The model, account, key's id, team, tag or UTC day; None for what has none."""


class CostReport(Frozen, frozen=True):
    """Batches count for the time they were settled at. With `tag`, a batch is in the row of each of its tags."""

    object: Literal["cost_report"] = "cost_report"
    group_by: GroupBy
    data: tuple[CostRow, ...]
    """Days in order, all else by what is known of the cost, highest first."""
    total: CostSum
    """Each batch once."""
    truncated: bool = False
    """There are more groups than `data` has rows; they are in `total`."""
    invented: int = 0
    """Batches of a sandbox, whose costs are made up: left out, unless there are no others."""


async def cost_report(
    ledger: Ledger,
    *,
    group_by: GroupBy = "model",
    since: Millis | None = None,
    until: Millis | None = None,
    key: str | None = None,
    limit: int | None = None,
) -> CostReport:
    """Batches settled from `since` to before `until`; only one proxy key's, if given.

    `limit`: at most so many rows, the costliest (the latest days).
    """
    real, invented = _Groups(), _Groups()
    after: str | None = None
    while page := await ledger.costs(since=since, until=until, key=key, after=after, limit=_PAGE):
        for settled in page:
            await (invented if INVENTED in settled.settlement.notes else real).add(settled, group_by)
        after = page[-1].cursor
    shown = real if real.total.batches else invented
    rows: list[CostRow] = []
    for name, tally in await shown.chosen(group_by, limit):
        rows.append(CostRow(group=name, **tally.sum().model_dump()))
        if len(rows) % _SLICE == 0:
            await asyncio.sleep(0)
    return CostReport(
        group_by=group_by,
        data=tuple(rows),
        total=shown.total.sum(),
        truncated=len(rows) < len(shown.tallies),
        invented=invented.total.batches,
    )


def moment(text: str | None, *, end: bool = False) -> Millis | None:
    """Epoch milliseconds of an ISO 8601 time or UTC date; as the `end` of a range, a date means all of that day."""
    if text is None or text == "":
        return None
    try:
        found = dt.datetime.fromisoformat(text)
        if end and len(text) <= len("2026-11-22"):
            found += dt.timedelta(days=1)
        return int((found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a time: write 2026-11-22 or 2026-11-22T09:00:00Z") from None


class _Part(msgspec.Struct, gc=False):
    """A batch's share of a group."""

    lines: int
    usage: Mapping[str, int]
    known: Decimal
    complete: bool
    unpriced: int


@dataclass(slots=True)
class _Tally:
    """A sum under way."""

    batches: int = 0
    lines: int = 0
    known: Decimal = Decimal(0)
    complete: bool = True
    unpriced: int = 0
    tokens: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, part: _Part) -> None:
        self.batches += 1
        self.lines += part.lines
        self.known = _EXACT.add(self.known, part.known)
        self.complete &= part.complete
        self.unpriced += part.unpriced
        tokens = self.tokens
        for name, count in part.usage.items():
            if count:
                tokens[name] = tokens.get(name, 0) + count

    def sum(self) -> CostSum:
        return CostSum(
            batches=self.batches,
            lines=self.lines,
            usage=Usage(**{name: count for name, count in self.tokens.items() if name in Usage.model_fields}),
            total=self.known if self.complete else None,
            known=self.known,
            unpriced_lines=self.unpriced,
        )


@dataclass(slots=True)
class _Groups:
    """The groups of a report, and all together."""

    tallies: dict[str | None, _Tally] = field(default_factory=dict[str | None, _Tally])
    total: _Tally = field(default_factory=_Tally)
    _added: int = 0

    async def add(self, settled: Settled, group_by: GroupBy) -> None:
        whole = _whole(settled.settlement)
        self.total.add(whole)
        for name, part in _parts(settled, group_by, whole):
            if name not in self.tallies:
                self.tallies[name] = _Tally()
            self.tallies[name].add(part)
            self._added += 1
            if self._added % _SLICE == 0:
                await asyncio.sleep(0)

    async def chosen(self, group_by: GroupBy, limit: int | None) -> list[tuple[str | None, _Tally]]:
        """In the report's order; sorted in a thread, since there may be hundreds of thousands."""
        return await asyncio.to_thread(_chosen, list(self.tallies.items()), group_by, limit)


def _chosen(
    groups: list[tuple[str | None, _Tally]], group_by: GroupBy, limit: int | None
) -> list[tuple[str | None, _Tally]]:
    most = len(groups) if limit is None else limit
    if group_by == "day":
        return sorted(heapq.nlargest(most, groups, key=_day), key=_day)
    return heapq.nsmallest(most, groups, key=_costliest)


def _day(group: tuple[str | None, _Tally]) -> str:
    return group[0] or ""


def _costliest(group: tuple[str | None, _Tally]) -> tuple[Decimal, bool, str]:
    name, tally = group
    return -tally.known, name is None, name or ""


def _whole(settlement: Sums) -> _Part:
    cost = settlement.cost
    unpriced = sum(cost.unknown.values())
    return _Part(settlement.request_counts.total, settlement.usage, cost.known, cost.total is not None, unpriced)


def _parts(settled: Settled, group_by: GroupBy, whole: _Part) -> Iterator[tuple[str | None, _Part]]:
    who = settled.submission.attribution
    if group_by == "model":
        yield from _by_model(settled.settlement, whole)
    elif group_by == "tag":
        for tag in dict.fromkeys(who.tags) or (None,):
            yield tag, whole
    elif group_by == "day":
        yield dt.datetime.fromtimestamp(settled.settled_at / 1000, dt.UTC).date().isoformat(), whole
    else:
        names = {"account": settled.submission.account, "key": who.key, "team": who.team}
        yield names[group_by], whole


def _by_model(settlement: Sums, whole: _Part) -> Iterator[tuple[str | None, _Part]]:
    """Older settlements keep what is known of a partly priced model with the batch only: it goes to the one model that
    it can belong to, else to none."""
    shares = settlement.models
    told = {name: known for name, share in shares.items() if (known := _known(share)) is not None}
    rest = _EXACT.subtract(whole.known, sum(told.values(), Decimal(0)))
    untold = [name for name in shares if name not in told]
    for name, share in shares.items():
        known = told[name] if name in told else rest if len(untold) == 1 else Decimal(0)
        complete = share.cost is not None
        unpriced = 0 if complete else sum(share.unknown.values()) or share.lines
        yield name, _Part(share.lines, share.usage, known, complete, unpriced)
    if (rest and len(untold) != 1) or (not shares and not whole.complete):
        yield None, _Part(0, {}, rest, whole.complete or bool(shares), 0 if shares else whole.unpriced)


def _known(share: Share) -> Decimal | None:
    return share.cost if share.known is None else share.known
