"""The same lines at other prices: from what the ledger keeps, without the file."""

from collections import Counter
from collections.abc import Mapping

from batchmeter.events import Outcome
from batchmeter.pricing.groups import Groups

from .result import Metering, models_of, price, usage_of
from .tally import UNKNOWN, Job

_ABOUT_PRICES = frozenset({"unknown_model", "missing_rate", "price_plugin_failed"})
"""Reasons that other prices may end; the others are facts about the lines and stay."""


def reprice(settled: Outcome, groups: Groups, job: Job) -> Metering:
    """`settled` and its `groups` as the ledger gives them; its counts, usage and notes stay, cost is new."""
    kept = {reason: lines for reason, lines in settled.cost.unknown.items() if reason not in _ABOUT_PRICES}
    grouped: Counter[str] = Counter()
    for key, group in groups.items():
        grouped[key.model or UNKNOWN] += group.lines
    lacking = {name: model.lines - grouped[name] for name, model in settled.models.items()}
    priced = price(groups, job, kept)
    unpriced = (
        settled.request_counts.unpriced + _about_prices(priced.cost.unknown) - _about_prices(settled.cost.unknown)
    )
    return Metering(
        lines=settled.request_counts.model_copy(update={"unpriced": unpriced}),
        usage=usage_of(groups.values()),
        cost=priced.cost,
        models=models_of(groups, {name: lines for name, lines in lacking.items() if lines > 0}, priced),
        notes=settled.notes,
        groups=groups,
    )


def _about_prices(unknown: Mapping[str, int]) -> int:
    """Lines. Others may be in no file, and are then not counted among the unpriced ones."""
    return sum(lines for reason, lines in unknown.items() if reason in _ABOUT_PRICES)
