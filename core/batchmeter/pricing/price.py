"""Groups of lines x rates = cost: exact, each group priced once, unknown never 0."""

import inspect
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Context, Decimal, localcontext

from batchmeter.models import Cost

from .groups import Group, GroupKey, Groups, PriceQuery, PriceSource, Rates

log = logging.getLogger("batchmeter")

MILLION = Decimal(1_000_000)
EXACT = Context(prec=80)
"""Enough digits for any token count times any rate; nothing is ever rounded."""

PriceModel = Callable[[str], str]
Ask = Callable[[PriceQuery], Rates | None]


@dataclass(frozen=True, slots=True)
class Priced:
    """What the groups cost together and by model."""

    cost: Cost
    models: dict[str | None, Decimal | None] = field(default_factory=dict[str | None, Decimal | None])
    """By the name the lines carry; None when any line of that model is unpriced."""
    unpriced_lines: int = 0


@dataclass
class _Sum:
    known: Decimal = Decimal(0)
    unknown: Counter[str] = field(default_factory=Counter[str])
    estimated: bool = False
    flags: set[str] = field(default_factory=set[str])
    models: dict[str | None, Decimal | None] = field(default_factory=dict[str | None, Decimal | None])

    def add(self, model: str | None, cost: Decimal | None) -> None:
        sofar = self.models.get(model, Decimal(0))
        self.models[model] = None if sofar is None or cost is None else sofar + cost
        self.known += cost or 0


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
) -> Priced:
    """Price every group at the rates of `at` (UTC).

    `price_model` maps a name to the model to price (Azure: deployment -> model); `ask` is tried before `source`;
    `unknown` adds lines that never reached a group (`usage_missing`), by reason.
    """
    total = _Sum(unknown=Counter(unknown or {}))
    with localcontext(EXACT):
        for key, group in groups.items():
            query = _query(key, provider, region, at, batch_created, price_model)
            _price(total, key, group, query, source, ask)
    unpriced = sum(total.unknown.values())
    cost = Cost(
        total=None if unpriced else total.known,
        known=total.known,
        unknown=dict(sorted(total.unknown.items())),
        estimated=total.estimated,
        flags=tuple(sorted(total.flags)),
        price_book=source.digest,
        priced_at=at,
    )
    return Priced(cost=cost, models=total.models, unpriced_lines=unpriced)


def _query(
    key: GroupKey, provider: str, region: str | None, at: date, created: date | None, price_model: PriceModel | None
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
    )


def _price(
    total: _Sum, key: GroupKey, group: Group, query: PriceQuery | None, source: PriceSource, ask: Ask | None
) -> None:
    rates, reason = _rates(query, source, ask)
    billed = {bucket: count for bucket, count in group.counts.items() if count}
    if rates is not None and not billed.keys() <= rates.usd_per_million.keys():
        reason = "missing_rate"
    if rates is None or reason is not None:
        total.unknown[reason or "unknown_model"] += group.lines
        total.add(key.model, None)
        return
    total.add(key.model, sum((rates.usd_per_million[b] * n for b, n in billed.items()), Decimal(0)) / MILLION)
    total.flags.update(rates.flags)
    total.estimated = total.estimated or _is_estimated(rates, billed)


def _rates(query: PriceQuery | None, source: PriceSource, ask: Ask | None) -> tuple[Rates | None, str | None]:
    if query is None:
        return None, "unknown_model"
    if ask is not None:
        try:
            asked = _checked(ask(query))
        except (Exception, SystemExit) as error:  # whatever a plugin does, only its group is unpriced
            log.warning("a price_lines hook failed for %s/%s", query.provider, query.model, exc_info=error)
            return None, "price_plugin_failed"
        if asked is not None:
            return asked, None
    rates = source.rates(query)
    return rates, None if rates is not None else "unknown_model"


def _checked(answer: object) -> Rates | None:
    """What a plugin gave, in exact numbers whatever kind of number it wrote; an error where it is no rates at all."""
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
