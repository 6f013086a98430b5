"""Names of models and regions as a vendor writes them, and the ids and classes under which the catalogue lists them.

An id is exact first, then what the vendor itself adds to a name: never fuzzy, never by prefix. `my-luna` is not Luna, and
a fine-tuned model is never its base. What a vendor adds is in data/vendors.toml.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "data" / "vendors.toml"
GLOBAL_WORDS = frozenset({"global", "not_available", "default", ""})
_FINE_TUNED = re.compile(r"^(ft:[^:]+):.+$")

Rewrites = Sequence[tuple[re.Pattern[str], str]]


@dataclass(frozen=True, slots=True)
class Vendor:
    """One provider's ways with names."""

    bare: Rewrites = ()
    spellings: Rewrites = ()
    snapshot: re.Pattern[str] | None = None
    region: Mapping[str, str] = field(default_factory=dict[str, str])
    places: re.Pattern[str] | None = None
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Name:
    """One id to look up."""

    id: str
    family: bool = False
    """Only where the catalogue declares this alias to speak for its snapshots."""


@dataclass(frozen=True, slots=True)
class Region:
    """The class to look for, and whether anybody said so."""

    name: str | None
    """None: the global price."""
    known: bool


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


@cache
def vendor(provider: str) -> Vendor:
    entry: Mapping[str, Any] = _table().get(provider, {})
    bare, spellings = (
        [(re.compile(pattern), put) for pattern, put in entry.get(key, ())] for key in ("bare", "spellings")
    )
    snapshot, places = (re.compile(entry[key]) if key in entry else None for key in ("snapshot", "places"))
    return Vendor(bare, spellings, snapshot, entry.get("region", {}), places, entry.get("example"))


def names(provider: str, model: str) -> Iterator[Name]:
    """Ids to try, best first."""
    bare = _bare(provider, model)
    yield Name(model)
    if bare != model:
        yield Name(bare)
    fine_tuned = _FINE_TUNED.match(bare)
    if fine_tuned:
        yield Name(fine_tuned[1])
        return
    if bare.startswith("ft:"):
        return
    for pattern, put in vendor(provider).spellings:
        if pattern.match(bare):
            yield Name(pattern.sub(put, bare))
    family = without_snapshot(provider, bare)
    if family != bare:
        yield Name(family, family=True)


def base_model(provider: str, model: str) -> str:
    """The name without organisation, suffix or snapshot, as a user's `provider/base-model` row gives it."""
    bare = _bare(provider, model)
    fine_tuned = _FINE_TUNED.match(bare)
    if fine_tuned or bare.startswith("ft:"):
        return fine_tuned[1] if fine_tuned else bare
    return without_snapshot(provider, bare)


def without_snapshot(provider: str, model: str) -> str:
    """The id without its date or number."""
    pattern = vendor(provider).snapshot
    return pattern.sub("", model) if pattern else model


def _bare(provider: str, model: str) -> str:
    """The id inside a resource name or ARN."""
    for pattern, put in vendor(provider).bare:
        if pattern.match(model):
            return pattern.sub(put, model)
    return model


def region_class(provider: str, region: str | None, geo: str | None) -> Region:
    """The region class that decides a price: the job's region, and the line's own geo where the vendor prices by that."""
    word, rule = (region or "").strip().lower(), vendor(provider).region
    if only := rule.get("only"):
        return Region(only if (geo or word).strip().lower() == only else None, known=True)
    if not word:
        return Region(None, known=False)
    if word in GLOBAL_WORDS:
        return Region(None, known=True)
    if prefix := rule.get("prefix"):  # a location does not tell a global deployment from one of a zone
        return Region(word, known=True) if word.startswith(prefix) else Region(None, known=False)
    return Region(rule.get("class", word), known=True)
