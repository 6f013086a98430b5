"""How much a batch takes of a budget: its estimate, or the share of the models that the budget is about."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from .book import Budget
from .money import nano_up
from .scopes import Match, Subject, matches
from .settings import PerLine

if TYPE_CHECKING:
    from batchmeter.host import Estimate, EstimatedModel, PlannedBatch

_MOST_NAMES = 8
MARGIN = Decimal("1.2")
"""Factor on the expected cost, where there is no bound to go by."""


@dataclass(frozen=True, slots=True)
class Target:
    """One bucket of one budget that a batch is about to be counted in."""

    budget: Budget
    bucket: str
    models: frozenset[str] | None
    amount: int
    """Nanodollars, or tokens: what is reserved."""
    basis: str
    """`upper`, `expected`, `per_line`, `tokens`; `unknown` where part of it is not reserved."""
    reasons: tuple[str, ...] = ()
    """Why the amount is not known."""
    priced: str | None = None
    """Models that it is the price of, a line each, without their snapshots; None where that is not known."""

    @property
    def key(self) -> tuple[str, str]:
        return self.budget.id, self.bucket


def targets(budgets: Iterable[Budget], planned: "PlannedBatch", estimate: "Estimate | None") -> list[Target]:
    """In the order in which they are taken."""
    subject = subject_of(planned, estimate)
    found = [
        _target(budget, match, estimate) for budget in budgets for match in matches(budget.settings.scope, subject)
    ]
    return sorted(found, key=lambda target: target.key)


def subject_of(planned: "PlannedBatch", estimate: "Estimate | None") -> Subject:
    models = {} if estimate is None else {name: one.priced_as for name, one in estimate.models.items()}
    if not models and planned.model is not None:
        models = {planned.model: planned.model}
    return Subject(planned.account, planned.provider, planned.attribution, models)


def _target(budget: Budget, match: Match, estimate: "Estimate | None") -> Target:
    if estimate is None:
        return Target(budget, match.bucket, match.models, 0, "unknown", ("its input file was not counted",))
    chosen = [one for name, one in estimate.models.items() if match.models is None or name in match.models]
    if budget.tokens:
        return Target(budget, match.bucket, match.models, sum(one.input_tokens for one in chosen), "tokens")
    others = 0 if match.models is not None else estimate.requests - sum(one.requests for one in chosen)
    return _priced(budget, match, chosen, others, estimate.unknown)


def _priced(
    budget: Budget, match: Match, chosen: Sequence["EstimatedModel"], others: int, reasons: Sequence[str]
) -> Target:
    """`others`: requests of models that the estimate does not keep apart."""
    amount, unknown, bases = Decimal(0), others, set[str]()
    for one in chosen:
        cost, basis = _cost(budget, one)
        if cost is None:
            unknown += one.requests
        else:
            amount += cost
            bases.add(basis)
    choice = budget.settings.unknown
    if unknown and isinstance(choice, PerLine):
        amount, unknown = amount + choice.usd_per_line * unknown, 0
        bases.add("per_line")
    basis = "unknown" if unknown else "+".join(sorted(bases)) or "upper"
    priced = "\n".join(sorted({one.priced_as for one in chosen})[:_MOST_NAMES]) or None
    return Target(budget, match.bucket, match.models, nano_up(amount), basis, tuple(reasons) if unknown else (), priced)


def _cost(budget: Budget, one: "EstimatedModel") -> tuple[Decimal | None, str]:
    if budget.settings.reserve != "expected" and one.upper is not None:
        return one.upper, "upper"
    if budget.settings.reserve == "upper" or one.expected is None:
        return None, ""
    factor = MARGIN if budget.settings.reserve == "upper_or_expected" else Decimal(1)
    return one.expected * factor, "expected"
