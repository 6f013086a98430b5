"""Groups of lines x rates = cost: exact, each group priced once, unknown never 0."""

import inspect
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Context, Decimal, localcontext

from batchmeter.models import Cost, RatesUsed, ReportedCost

from .groups import Group, GroupKey, Groups, PriceQuery, PriceSource, Rates

log = logging.getLogger("batchmeter")

MILLION = Decimal(1_000_000)
EXACT = Context(prec=80)
"""Enough digits for any token count times any rate; nothing is ever rounded."""

VENDOR_REPORTED = "vendor_reported"
"""Flag and origin: the vendor's own amount on the rows stands for a price that we do not know."""
FREE_SUFFIX = ":free"
"""End of a model name by which routers mark what costs nothing; any other zero on a row is no price."""
BATCH, STANDARD = "batch", "standard"
"""How lines are processed: `PriceQuery.processing`."""
REPORTED_DIFFERS = "reported_cost_differs"
"""Note: the vendor's amounts and ours differ by more than `TOLERANCE`."""
TOLERANCE = Decimal("0.005")
MAX_DETAILS = 10
"""Details kept of one reason."""

PriceModel = Callable[[str], str]
Ask = Callable[[PriceQuery], Rates | None]


@dataclass(frozen=True, slots=True)
class Terms:
    """A provider's own word on its prices: see `Capabilities`."""

    priced_as: str | None = None
    standard_factor: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """All that decides the prices of a job's groups."""

    provider: str
    source: PriceSource
    at: date
    """UTC date whose prices count."""
    region: str | None = None
    batch_created: date | None = None
    """UTC date, to flag a price change since."""
    price_model: PriceModel | None = None
    """From a line's model to the one to price (a deployment -> its model)."""
    ask: Ask | None = None
    """Tried before `source` (the `price_lines` hook)."""
    terms: Terms = Terms()
    """The provider's declarations about its prices."""

    def query(self, key: GroupKey) -> PriceQuery | None:
        """None: the group names no model."""
        if not key.model:
            return None
        return PriceQuery(
            provider=self.provider,
            model=self.price_model(key.model) if self.price_model else key.model,
            at=self.at,
            region=self.region,
            geo=key.geo,
            prompt_over=key.prompt_over,
            processing=key.processing,
            batch_created=self.batch_created,
            priced_as=self.terms.priced_as,
            standard_factor=self.terms.standard_factor,
        )

    def rates(self, query: PriceQuery | None) -> tuple[Rates | None, str | None]:
        """The rates, a plugin's before the source's, or why there are none."""
        if query is None:
            return None, "unknown_model"
        if self.ask is not None:
            try:
                answer = _checked(self.ask(query))
            except (Exception, SystemExit) as error:  # whatever a plugin does, only its group is unpriced
                log.warning("a price_lines hook failed for %s/%s", query.provider, query.model, exc_info=error)
                return None, "price_plugin_failed"
            if answer is not None:
                return answer, None
        rates = self.source.rates(query)
        return rates, None if rates is not None else "unknown_model"


@dataclass(slots=True)
class Share:
    """One model's part of the cost."""

    known: Decimal = Decimal(0)
    unknown: Counter[str] = field(default_factory=Counter[str])
    """Reason -> lines."""
    list_price: Decimal | None = Decimal(0)
    """At the standard rates, outside a batch; None where one of them is unknown."""


@dataclass(frozen=True, slots=True)
class Priced:
    """The cost of the groups, together and by model."""

    cost: Cost
    models: dict[str | None, Share] = field(default_factory=dict[str | None, Share])
    """By the name the lines carry."""
    unpriced_lines: int = 0
    rates: tuple[RatesUsed, ...] = ()
    reported: ReportedCost | None = None
    """The vendor's own amounts, where any line has one."""
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Sum:
    known: Decimal = Decimal(0)
    unknown: Counter[str] = field(default_factory=Counter[str])
    details: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    estimated: bool = False
    flags: set[str] = field(default_factory=set[str])
    notes: set[str] = field(default_factory=set[str])
    models: dict[str | None, Share] = field(default_factory=dict[str | None, Share])
    rates: dict[tuple[GroupKey, str], RatesUsed] = field(default_factory=dict[tuple[GroupKey, str], RatesUsed])
    reported: Decimal = Decimal(0)
    reported_lines: int = 0

    def lacks(self, reason: str, lines: int, details: Iterable[str]) -> None:
        """Lines without a whole price, and what to look at."""
        self.unknown[reason] += lines
        kept = self.details.setdefault(reason, [])
        kept += [text for text in details if text not in kept][: MAX_DETAILS - len(kept)]


def price_groups(
    groups: Groups,
    pricing: Pricing,
    *,
    unknown: Mapping[str, int] | None = None,
    details: Mapping[str, Sequence[str]] | None = None,
) -> Priced:
    """Price every group. `unknown` adds lines that never reached one, by reason, and `details` the first of them."""
    total = _Sum()
    for reason, lines in (unknown or {}).items():
        total.lacks(reason, lines, (details or {}).get(reason, ()))
    with localcontext(EXACT):
        for key, group in groups.items():
            _price(total, key, group, pricing)
    unpriced = sum(total.unknown.values())
    cost = Cost(
        total=None if unpriced else total.known,
        known=total.known,
        unknown=dict(sorted(total.unknown.items())),
        details={reason: tuple(texts) for reason, texts in sorted(total.details.items()) if texts},
        estimated=total.estimated,
        flags=tuple(sorted(total.flags)),
        price_book=pricing.source.digest,
        priced_at=pricing.at,
    )
    reported = ReportedCost(total=total.reported, lines=total.reported_lines) if total.reported_lines else None
    rates = tuple(used for used in total.rates.values() if used.units or used.cost)
    return Priced(cost, total.models, unpriced, rates, reported, tuple(sorted(total.notes)))


def _price(total: _Sum, key: GroupKey, group: Group, pricing: Pricing) -> None:
    query = pricing.query(key)
    found, reason = pricing.rates(query)
    rates = found or Rates({})
    billed = {bucket: count for bucket, count in group.counts.items() if count}
    missing = [bucket for bucket in billed if bucket not in rates.usd_per_million] if found else []
    known, listed = _cost(rates, billed), None
    total.reported += group.reported
    total.reported_lines += group.reported_lines
    if reason is None and not missing:
        difference = abs(group.reported - known)
        if 0 < group.reported_lines == group.lines and difference > TOLERANCE * max(group.reported, known):
            total.notes.add(REPORTED_DIFFERS)
        listed = _list_price(pricing, query, rates, billed)
    elif group.reported or (group.reported_lines and (key.model or "").endswith(FREE_SUFFIX)):
        known, rates = group.reported, Rates({}, flags=(VENDOR_REPORTED,), origin=VENDOR_REPORTED)
    guessed = rates.estimated_buckets  # only a derived rate that was used makes a cost an estimate
    total.estimated |= rates.estimated if guessed is None else not guessed.isdisjoint(billed)
    total.flags.update(rates.flags)
    total.known += known
    share = total.models.setdefault(key.model, Share())
    share.known += known
    share.list_price = None if share.list_price is None or listed is None else share.list_price + listed
    named = group.reported_lines if rates.origin == VENDOR_REPORTED else 0
    unpriced = max(group.lines, int(bool(billed))) - named  # a part of another group's line is no line
    if (reason is not None or missing) and unpriced:
        reason = reason or "missing_rate"
        share.unknown[reason] += unpriced
        places = [f"{key.model}: {bucket}" for bucket in missing] or [key.model or "no model named"]
        total.lacks(reason, unpriced, places)
    _keep(total, key, group, query, rates, known)


def _list_price(pricing: Pricing, query: PriceQuery | None, rates: Rates, billed: Mapping[str, int]) -> Decimal | None:
    """The same units' cost outside a batch; None where a standard rate is unknown."""
    found: Rates | None = rates
    if query is not None and query.processing == BATCH:
        found, _ = pricing.rates(replace(query, processing=STANDARD))
    return None if found is None or billed.keys() - found.usd_per_million.keys() else _cost(found, billed)


def _cost(rates: Rates, billed: Mapping[str, int]) -> Decimal:
    """USD of the units that have a rate."""
    by_bucket = rates.usd_per_million
    return (
        sum((by_bucket[bucket] * count for bucket, count in billed.items() if bucket in by_bucket), Decimal(0))
        / MILLION
    )


def _keep(total: _Sum, key: GroupKey, group: Group, query: PriceQuery | None, priced: Rates, known: Decimal) -> None:
    """The rates used, once for all groups that differ only in the buckets they use."""
    place = replace(key, buckets=()), priced.origin
    earlier = total.rates.get(place) or RatesUsed()
    units = Counter(earlier.units) + Counter(group.counts)
    estimated = priced.estimated_buckets if priced.estimated_buckets is not None else frozenset(priced.usd_per_million)
    total.rates[place] = RatesUsed(
        model=key.model,
        priced_as=query.model if query and query.model != key.model else None,
        prompt_over=key.prompt_over,
        geo=key.geo,
        processing=key.processing,
        region=priced.region,
        lines=earlier.lines + group.lines,
        units=dict(units),
        usd_per_million={
            bucket: priced.usd_per_million[bucket] for bucket in units if bucket in priced.usd_per_million
        },
        estimated=tuple(bucket for bucket in units if bucket in estimated) if priced.estimated else (),
        flags=priced.flags,
        origin=priced.origin,
        cost=earlier.cost + known,
    )


def _checked(answer: object) -> Rates | None:
    """A plugin's answer in exact numbers, whatever kind of number it wrote; TypeError or ValueError if it is no rates."""
    if answer is None:
        return None
    if inspect.iscoroutine(answer):
        answer.close()
    if not isinstance(answer, Rates):
        raise TypeError(f"price_lines gives Rates or None, and is no `async def`; this is {type(answer).__name__}")
    rates = {bucket: _rate(bucket, rate) for bucket, rate in answer.usd_per_million.items()}
    return replace(answer, usd_per_million=rates, flags=tuple(map(str, answer.flags)))


def _rate(bucket: str, rate: object) -> Decimal:
    """A float is taken at its printed digits, as in a user's row."""
    exact = rate if isinstance(rate, Decimal) else Decimal(str(rate))
    if not exact.is_finite() or exact < 0:
        raise ValueError(f"the rate of {bucket} has to be 0 or more, not {rate!r}")
    return exact
