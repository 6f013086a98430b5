"""The budgets that a batch counts in, and its bucket of each: `"*"` gives every value a bucket of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from urllib.parse import parse_qsl, urlencode

from batchmeter.models import Attribution

from .settings import Dimension

EACH = "*"


@dataclass(frozen=True, slots=True)
class Subject:
    """A batch, as scopes look at it."""

    account: str
    provider: str
    attribution: Attribution
    models: Mapping[str, str]
    """Name -> the same without snapshot, deployment or organisation."""

    def values(self, dimension: Dimension) -> tuple[str, ...]:
        """The batch's values of any dimension but the model."""
        who = self.attribution
        one = {
            "key": who.key,
            "team": who.team,
            "user": who.user,
            "account": self.account,
            "provider": self.provider,
        }
        if dimension == "tag":
            return tuple(dict.fromkeys(who.tags))
        value = one.get(dimension)
        return () if value is None else (value,)


@dataclass(frozen=True, slots=True)
class Match:
    """One bucket of a budget that a batch counts in."""

    bucket: str
    models: frozenset[str] | None
    """Models that count; None: all, and whatever is not told by model."""


def matches(scope: Mapping[Dimension, str], subject: Subject) -> Iterator[Match]:
    """Buckets that the subject counts in: none where the scope does not fit, several of tags and models."""
    wanted = scope.get("model")
    shares = {"": None} if wanted is None else _models(wanted, subject.models)
    parts: list[list[tuple[str, str]]] = []
    for dimension, pattern in sorted(scope.items()):
        if dimension == "model":
            continue
        found = [value for value in subject.values(dimension) if fits(value, pattern)]
        if not found:
            return
        parts.append([(dimension, value) for value in found] if pattern == EACH else [(dimension, "")])
    for chosen in product(*parts):
        for model, share in shares.items():
            named = [*chosen, ("model", model)] if wanted == EACH else chosen
            yield Match(bucket_of(named), share)


def bucket_of(named: Sequence[tuple[str, str]]) -> str:
    return urlencode(sorted(pair for pair in named if pair[1]))


def named_in(bucket: str) -> dict[str, str]:
    """`team=search` -> {"team": "search"}."""
    return dict(parse_qsl(bucket))


def shown(bucket: str) -> str:
    """For people: the value alone where there is one."""
    named = named_in(bucket)
    return (
        next(iter(named.values())) if len(named) == 1 else ", ".join(f"{name} {value}" for name, value in named.items())
    )


def fits(value: str, pattern: str) -> bool:
    return pattern in (EACH, value) or ("*" in pattern and fnmatchcase(value, pattern))


def own_buckets(scope: Mapping[Dimension, str], attribution: Attribution) -> list[str] | None:
    """A caller's own buckets of a budget that has one for each value; None where its attribution does not tell them."""
    each: list[Dimension] = [dimension for dimension, pattern in scope.items() if pattern == EACH]
    if not each or not set(each) <= {"key", "team", "user", "tag"}:
        return None
    who = Subject("", "", attribution, {})
    return [bucket_of(named) for named in product(*([(one, value) for value in who.values(one)] for one in each))]


def may_see(
    scope: Mapping[Dimension, str], bucket: str, attribution: Attribution, accounts: frozenset[str] | None = None
) -> bool:
    """Whether a bucket is about this caller's own batches, among others'. `accounts`: those that it may use; None: all."""
    who = Subject("", "", attribution, {})
    mine: Sequence[Dimension] = ("key", "team", "user", "tag")
    named = named_in(bucket)
    for dimension in mine:
        pattern = named.get(dimension) or scope.get(dimension)
        if pattern is not None and not any(fits(value, pattern) for value in who.values(dimension)):
            return False
    account = named.get("account") or scope.get("account")
    return account is None or accounts is None or any(fits(one, account) for one in accounts)


def _models(pattern: str, models: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Bucket -> names. A name, and the family that a dated snapshot belongs to, both fit."""
    found: dict[str, set[str]] = {}
    for name, family in models.items():
        if fits(name, pattern) or fits(family, pattern):
            found.setdefault(family if pattern == EACH else "", set()).add(name)
    return {bucket: frozenset(names) for bucket, names in found.items()}


BaseModel = Callable[[str, str], str]
"""Provider and model -> the model's family."""
