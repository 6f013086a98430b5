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
    *,
    provider: str,
    region: str | None,
    at: date,
    source: PriceSource,
    batch_created: date | None = None,
    price_model: PriceModel | None = None,
    ask: Ask | None = None,
    unknown: Mapping[str, int] | None = None,
    details: Mapping[str, Sequence[str]] | None = None,
    terms: Terms | None = None,
) -> Priced:
    """Price every group at the rates of `at` (UTC).

    `price_model` maps a name to the model to price (a deployment -> its model); `ask` is tried before `source`;
    `unknown` adds lines that never reached a group (`usage_missing`), by reason, and `details` the first of them;
    `terms` are what the provider declares of its prices.
    """
    total = _Sum()
    for reason, lines in (unknown or {}).items():
        total.lacks(reason, lines, (details or {}).get(reason, ()))
    with localcontext(EXACT):
        for key, group in groups.items():
            query = _query(key, provider, region, at, batch_created, price_model, terms or Terms())
            _price(total, key, group, query, source, ask)
    unpriced = sum(total.unknown.values())
    cost = Cost(
        total=None if unpriced else total.known,
        known=total.known,
        unknown=dict(sorted(total.unknown.items())),
        details={reason: tuple(texts) for reason, texts in sorted(total.details.items()) if texts},
        estimated=total.estimated,
        flags=tuple(sorted(total.flags)),
        price_book=source.digest,
        priced_at=at,
    )
    reported = ReportedCost(total=total.reported, lines=total.reported_lines) if total.reported_lines else None
    rates = tuple(used for used in total.rates.values() if used.units or used.cost)
    return Priced(cost, total.models, unpriced, rates, reported, tuple(sorted(total.notes)))


def _query(
    key: GroupKey,
    provider: str,
    region: str | None,
    at: date,
    created: date | None,
    price_model: PriceModel | None,
    terms: Terms,
) -> PriceQuery | None:
    if not key.model:
        return None
    return PriceQuery(
        provider=provider,
        model=price_model(key.model) if price_model else key.model,
        at=at,
        region=region,
        geo=key.geo,
        prompt_over=key.prompt_over,
        processing=key.processing,
        batch_created=created,
        priced_as=terms.priced_as,
        standard_factor=terms.standard_factor,
    )


def _price(
    total: _Sum, key: GroupKey, group: Group, query: PriceQuery | None, source: PriceSource, ask: Ask | None
) -> None:
    rates, reason = asked_rates(query, source, ask)
    billed = {bucket: count for bucket, count in group.counts.items() if count}
    missing = [bucket for bucket in billed if rates is not None and bucket not in rates.usd_per_million]
    priced = rates or Rates({})
    rates_of = priced.usd_per_million
    known = (
        sum((rates_of[bucket] * count for bucket, count in billed.items() if bucket in rates_of), Decimal(0)) / MILLION
    )
    total.reported += group.reported
    total.reported_lines += group.reported_lines
    share = total.models.setdefault(key.model, Share())
    listed = None
    if reason is None and not missing:
        _compare(total, group, known)
        listed = _listed(query, billed, priced, source, ask)
    elif group.reported or (group.reported_lines and (key.model or "").endswith(FREE_SUFFIX)):
        known, priced = group.reported, Rates({}, flags=(VENDOR_REPORTED,), origin=VENDOR_REPORTED)
    total.flags.update(priced.flags)
    total.estimated = total.estimated or _is_estimated(priced, billed)
    share.known += known
    share.list_price = None if share.list_price is None or listed is None else share.list_price + listed
    total.known += known
    named = group.reported_lines if priced.origin == VENDOR_REPORTED else 0
    unpriced = max(group.lines, int(bool(billed))) - named  # a part of another group's line is no line
    if (reason is not None or missing) and unpriced:
        reason = reason or "missing_rate"
        share.unknown[reason] += unpriced
        total.lacks(reason, unpriced, _details(key.model, missing))
    _keep(total, key, group, query, priced, known)


def _listed(
    query: PriceQuery | None, billed: Mapping[str, int], priced: Rates, source: PriceSource, ask: Ask | None
) -> Decimal | None:
    """The same units' cost outside a batch; None where a standard rate is unknown."""
    found: Rates | None = priced
    if query is not None and query.processing == BATCH:
        found, _ = asked_rates(replace(query, processing=STANDARD), source, ask)
    if found is None or not billed.keys() <= found.usd_per_million.keys():
        return None
    return sum((found.usd_per_million[bucket] * count for bucket, count in billed.items()), Decimal(0)) / MILLION


def _details(model: str | None, missing: Sequence[str]) -> list[str]:
    """`gpt-5: web_search`; the model alone where no row prices it at all."""
    return [f"{model}: {bucket}" for bucket in missing] or [model or "no model named"]


def _compare(total: _Sum, group: Group, known: Decimal) -> None:
    """A note where the vendor names another amount than ours for the same lines."""
    if (
        group.reported_lines
        and group.reported_lines == group.lines
        and abs(group.reported - known) > TOLERANCE * max(group.reported, known)
    ):
        total.notes.add(REPORTED_DIFFERS)


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


def asked_rates(query: PriceQuery | None, source: PriceSource, ask: Ask | None) -> tuple[Rates | None, str | None]:
    """The rates, a plugin's before the source's, or why there are none."""
    if query is None:
        return None, "unknown_model"
    if ask is not None:
        try:
            answer = _checked(ask(query))
        except (Exception, SystemExit) as error:  # whatever a plugin does, only its group is unpriced
            log.warning("a price_lines hook failed for %s/%s", query.provider, query.model, exc_info=error)
            return None, "price_plugin_failed"
        if answer is not None:
            return answer, None
    rates = source.rates(query)
    return rates, None if rates is not None else "unknown_model"


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


def _is_estimated(rates: Rates, billed: Mapping[str, int]) -> bool:
    """Only a derived rate that was used makes a cost an estimate."""
    if rates.estimated_buckets is None:
        return rates.estimated
    return not rates.estimated_buckets.isdisjoint(billed)
