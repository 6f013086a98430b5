"""A settlement priced again from its groups; a rate that the book has dropped since keeps its price."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from batchmeter.events import Outcome
from batchmeter.metering.result import UNKNOWN, Job, Metering, models_of, price, usage_of
from batchmeter.models import RatesUsed
from batchmeter.pricing.groups import Groups, PriceQuery, PriceSource, Rates

RATES_KEPT = "rates_kept"
"""Flag: the book no longer has a rate; the one of the settlement was taken again."""
UNMETERED = "unmetered"
"""Reason of a model's lines in no group, in a settlement that is older than reasons by model."""
_ABOUT_PRICES = frozenset({"unknown_model", "missing_rate", "price_plugin_failed"})
"""Reasons that other prices may end; the others are facts about the lines and stay."""


def reprice(settled: Outcome, groups: Groups, job: Job) -> Metering:
    """Price `settled` again from its `groups` as the ledger has them; counts, usage and notes stay, the cost is new."""
    kept = _facts(settled.cost.unknown)
    grouped: Counter[str] = Counter()
    for key, group in groups.items():
        grouped[key.model or UNKNOWN] += group.lines
    lacking = {
        name: _facts(model.unknown) or {UNMETERED: model.lines - grouped[name]}
        for name, model in settled.models.items()
        if model.lines > grouped[name]
    }
    job = replace(job, prices=Kept(job.prices, settled.rates))
    priced = price(groups, job, kept, settled.cost.details)
    unpriced = (
        settled.request_counts.unpriced + _about_prices(priced.cost.unknown) - _about_prices(settled.cost.unknown)
    )
    return Metering(
        lines=settled.request_counts.model_copy(update={"unpriced": unpriced}),
        usage=usage_of(groups.values()),
        cost=priced.cost,
        models=models_of(groups, lacking, priced),
        notes=settled.notes,
        rates=priced.rates,
        reported_cost=priced.reported,
        groups=groups,
    )


def _facts(unknown: Mapping[str, int]) -> dict[str, int]:
    return {reason: lines for reason, lines in unknown.items() if reason not in _ABOUT_PRICES}


def _about_prices(unknown: Mapping[str, int]) -> int:
    """Lines. Others may be in no file, and are then not counted among the unpriced ones."""
    return sum(lines for reason, lines in unknown.items() if reason in _ABOUT_PRICES)


@dataclass(frozen=True, slots=True)
class Kept:
    """A price source behind which stand the rates that a settlement was made at: what the book has dropped since keeps
    its price, and says so."""

    source: PriceSource
    used: Sequence[RatesUsed]

    @property
    def digest(self) -> str:
        return self.source.digest

    @property
    def boundaries(self) -> tuple[int, ...]:
        return self.source.boundaries

    def rates(self, query: PriceQuery) -> Rates | None:
        """The source's rates, and those that only the settlement has."""
        found = self.source.rates(query)
        kept = next((used for used in self.used if _fits(used, query)), None)
        if kept is None or (found is not None and kept.usd_per_million.keys() <= found.usd_per_million.keys()):
            return found
        rates = found or Rates({}, estimated_buckets=frozenset(), origin=kept.origin, region=kept.region)
        added = {bucket: rate for bucket, rate in kept.usd_per_million.items() if bucket not in rates.usd_per_million}
        guessed = rates.estimated_buckets if rates.estimated_buckets is not None else rates.usd_per_million.keys()
        estimated = frozenset(guessed if rates.estimated else ()) | (added.keys() & kept.estimated)
        return replace(
            rates,
            usd_per_million={**rates.usd_per_million, **added},
            estimated=bool(estimated),
            estimated_buckets=estimated,
            flags=(*rates.flags, RATES_KEPT),
        )


def _fits(used: RatesUsed, query: PriceQuery) -> bool:
    wanted = (query.model, query.prompt_over, query.geo, query.processing)
    return (used.priced_as or used.model, used.prompt_over, used.geo, used.processing) == wanted and bool(
        used.usd_per_million
    )
