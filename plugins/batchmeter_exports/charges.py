"""Charges: each settled batch taken apart into priced units, so that their costs add up to the batch's known cost exactly."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal, localcontext
from typing import Literal

from batchmeter.access import SettledBatch
from batchmeter.events import Settlement
from batchmeter.models import RatesUsed

from .span import day_of

DayOf = Literal["settled", "ended", "created"]
MILLION = Decimal(1_000_000)
EXACT = Context(prec=80)
UNNAMED = "unknown"
"""The model of lines that name none, as settlements have it."""
VENDOR_REPORTED = "vendor_reported"


@dataclass(frozen=True, slots=True)
class Charge:
    """All that tells one row from another."""

    day: date
    account: str
    provider: str
    model: str
    """Empty for cost that belongs to no model."""
    bucket: str = ""
    """Empty where no unit price is known: `cost` is an amount as a whole."""
    rate: Decimal | None = None
    """USD per million units."""
    priced_as: str = ""
    prompt_over: int = 0
    geo: str = ""
    processing: str = "batch"
    region: str = ""
    origin: str = ""
    estimated: bool = False
    tags: str = "{}"
    """JSON object."""
    batch_id: str = ""


@dataclass(slots=True)
class Amount:
    units: int = 0
    cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Lines whose cost is unknown: they make no charge."""

    day: date
    account: str
    provider: str
    model: str
    reason: str


@dataclass(slots=True)
class Lacking:
    batches: int = 0
    lines: int = 0
    units: dict[str, int] = field(default_factory=dict[str, int])
    """Bucket -> units without a rate."""


def charged_day(one: SettledBatch, by: DayOf) -> date:
    """`ended` and `created` are the provider's times; without one, the day of settling."""
    times = one.settlement.times
    at = {"settled": None, "ended": times.ended_at, "created": times.created_at}[by]
    return day_of(one.settled_at) if at is None else at.date()


def tags_of(one: SettledBatch, metadata: Sequence[str]) -> str:
    """JSON of the owner, the tags, and the metadata of these names."""
    who = one.submission.attribution
    named = {"team": who.team, "user": who.user, "key": who.key, "session": who.session}
    tags = {f"batchmeter/{name}": value for name, value in named.items() if value}
    tags |= {f"batchmeter/tag/{tag}": "true" for tag in who.tags}
    tags |= {f"metadata/{name}": one.submission.metadata[name] for name in metadata if name in one.submission.metadata}
    return json.dumps(tags, sort_keys=True, separators=(",", ":"))


def charges(one: SettledBatch, day: date, tags: str) -> list[tuple[Charge, Amount]]:
    """Units at their rates first; then, by model, what these leave of its known cost; then what is left of the batch's."""
    with localcontext(EXACT):
        return list(_charges(one.settlement, day, tags))


def _charges(settlement: Settlement, day: date, tags: str) -> Iterator[tuple[Charge, Amount]]:
    left = {model: share.known for model, share in settlement.models.items()}
    rest = settlement.cost.known
    for used in settlement.rates:
        model = used.model or UNNAMED
        for charge, amount in _of_rates(settlement, used, day, tags):
            left[model] = left.get(model, Decimal(0)) - amount.cost
            rest -= amount.cost
            yield charge, amount
    for model, cost in left.items():
        if cost and rest:
            rest -= cost
            yield _whole(settlement, model, day, tags), Amount(0, cost)
    if rest:
        yield _whole(settlement, "", day, tags), Amount(0, rest)


def _of_rates(settlement: Settlement, used: RatesUsed, day: date, tags: str) -> Iterator[tuple[Charge, Amount]]:
    rest = used.cost
    for bucket, units in used.units.items():
        rate = used.usd_per_million.get(bucket)
        if units and rate is not None:
            cost = units * rate / MILLION
            rest -= cost
            estimated = bucket in used.estimated
            yield _charge(settlement, used, day, tags, bucket, rate, estimated=estimated), Amount(units, cost)
    if rest:
        yield _charge(settlement, used, day, tags), Amount(0, rest)


def _charge(
    settlement: Settlement,
    used: RatesUsed,
    day: date,
    tags: str,
    bucket: str = "",
    rate: Decimal | None = None,
    *,
    estimated: bool = False,
) -> Charge:
    return Charge(
        day, settlement.account, settlement.provider, used.model or UNNAMED, bucket, rate, used.priced_as or "",
        used.prompt_over, used.geo or "", used.processing, used.region or "", used.origin, estimated, tags,
        settlement.batch_id,
    )  # fmt: skip


def _whole(settlement: Settlement, model: str, day: date, tags: str) -> Charge:
    """Settlements older than the rates keep sums only."""
    return Charge(
        day, settlement.account, settlement.provider, model, tags=tags, batch_id=settlement.batch_id,
        origin="sum", estimated=settlement.cost.estimated,
    )  # fmt: skip


def unknowns(one: SettledBatch, day: date) -> Iterator[tuple[Unknown, Lacking]]:
    """By model and reason; without a model where the batch alone says so."""
    settlement = one.settlement
    shares: dict[str, Mapping[str, int]] = {name: share.unknown for name, share in settlement.models.items()}
    counted = sum(sum(reasons.values()) for reasons in shares.values())
    if counted < sum(settlement.cost.unknown.values()):
        shares = {"": settlement.cost.unknown}
    for model, reasons in shares.items():
        for reason, lines in reasons.items():
            yield (
                Unknown(day, settlement.account, settlement.provider, model, reason),
                Lacking(1, lines, _without_rate(settlement, model, reason)),
            )
    if settlement.cost.total is None and not any(shares.values()):
        yield Unknown(day, settlement.account, settlement.provider, "", UNNAMED), Lacking(1)


def _without_rate(settlement: Settlement, model: str, reason: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for used in settlement.rates:
        if (used.model or UNNAMED) != model or used.origin == VENDOR_REPORTED:
            continue
        if (reason == "missing_rate") != bool(used.usd_per_million):
            continue
        for bucket, units in used.units.items():
            if units and bucket not in used.usd_per_million:
                found[bucket] = found.get(bucket, 0) + units
    return found
