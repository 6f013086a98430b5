"""The same lines at other prices: from what the ledger keeps, without the file."""

from collections import Counter
from collections.abc import Mapping

from batchmeter.events import Outcome
from batchmeter.pricing.groups import Groups

from .result import Metering, models_of, price, usage_of
from .tally import UNKNOWN, Job

_ABOUT_PRICES = frozenset({"unknown_model", "missing_rate", "price_plugin_failed"})
"""Reasons that other prices may end; the others are facts about the lines and stay."""

UNMETERED = "unmetered"
"""Reason of a model's lines in no group, in a settlement that is older than reasons by model."""


def reprice(settled: Outcome, groups: Groups, job: Job) -> Metering:
    """`settled` and its `groups` as the ledger gives them; its counts, usage and notes stay, cost is new."""
    kept = _facts(settled.cost.unknown)
    grouped: Counter[str] = Counter()
    for key, group in groups.items():
        grouped[key.model or UNKNOWN] += group.lines
    lacking = {
        name: _facts(model.unknown) or {UNMETERED: model.lines - grouped[name]}
        for name, model in settled.models.items()
        if model.lines > grouped[name]
    }
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
