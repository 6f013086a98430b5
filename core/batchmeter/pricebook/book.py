"""The price book: user's rows over dated corrections over published batch rates over estimates.

It opens the catalogue on the first question, remembers its answers, and never touches the network.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal, localcontext
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from batchmeter.pricing.groups import TOOLS, PriceQuery, Rates

from .catalogue import Catalogue, Row, current
from .names import Region, base_model, names, region_class
from .overrides import UserRow, UserRows, read_rows
from .rules import Derived, batch_rates, standard_rates, tier_for

REGION_ASSUMED = "region_assumed_global"
PRICE_CHANGED = "price_change_during_batch"
BY_FAMILY = "snapshot_priced_as_family"
MAX_ALIASES = 8
MAX_REMEMBERED = 4096
"""Answers kept: model names come from files, so their number is anybody's."""


class PriceBook:
    """A `PriceSource` over the embedded catalogue (or a newer one) and the user's own rows."""

    def __init__(self, rows: UserRows | None = None, catalogue: Path | None = None) -> None:
        self.user = rows or UserRows()
        self._path = catalogue
        self._answers: dict[PriceQuery, Rates | None] = {}

    @classmethod
    def load(
        cls, user_rows: Mapping[str, Any] | str | Path | None = None, catalogue: Path | None = None
    ) -> "PriceBook":
        """`user_rows`: a mapping `"provider/id" -> row` (bare, or under `prices`), or the path of a TOML or JSON file."""
        return cls(read_rows(user_rows), catalogue)

    @cached_property
    def catalogue(self) -> Catalogue:
        return current() if self._path is None else Catalogue.open(self._path)

    @property
    def digest(self) -> str:
        """SHA-256 over the catalogue and the user's rows."""
        return hashlib.sha256(f"{self.catalogue.digest}\n{self.user.digest}".encode()).hexdigest()

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Prompt sizes at which any row changes price, ascending."""
        return tuple(sorted({*self.catalogue.boundaries, *self.user.boundaries}))

    def as_of(self) -> date:
        """The UTC date of the catalogue's prices."""
        return date.fromisoformat(self.catalogue.built)

    @staticmethod
    def base_model(provider: str, model: str) -> str:
        """The model without what its vendor adds for a snapshot or a place."""
        return base_model(provider, model)

    def strangers(self, providers: Collection[str]) -> dict[str, list[str]]:
        """Providers in the user's rows that are neither among these nor in the catalogue -> what they may have meant."""
        unknown = self.user.providers.difference(providers)
        listed = self.catalogue.providers if unknown else set[str]()
        return {name: get_close_matches(name, listed.union(providers), n=1) for name in sorted(unknown - listed)}

    def rates(self, query: PriceQuery) -> Rates | None:
        """The rates of one group of lines, or None where no row prices this model."""
        if query not in self._answers:
            if len(self._answers) >= MAX_REMEMBERED:
                self._answers.clear()
            with localcontext(prec=80):
                self._answers[query] = self._dated(query)
        return self._answers[query]

    def _dated(self, query: PriceQuery) -> Rates | None:
        """The rates of the query's own date, with a flag when they changed while the batch ran."""
        now = self._resolved(query, MAX_ALIASES)
        if now is None or query.batch_created is None or query.batch_created == query.at:
            return now
        before = self._resolved(replace(query, at=query.batch_created), MAX_ALIASES)
        if before is not None and before.usd_per_million == now.usd_per_million:
            return now
        return replace(now, flags=(*now.flags, PRICE_CHANGED))

    def _resolved(self, query: PriceQuery, depth: int) -> Rates | None:
        row = self.user.find(query)
        if row is None:
            return self._published(query)
        if row.alias_of is not None:
            provider, model = row.alias_of
            found = self._resolved(replace(query, provider=provider, model=model), depth - 1) if depth else None
        elif row.prices(query.processing):
            return self._declared(row, query)
        else:
            found = self._published(query)
        return _multiplied(found, row.multiplier)

    def _declared(self, row: UserRow, query: PriceQuery) -> Rates:
        """The user's own rates: the whole truth about this model, no uplift and nothing filled in beside them."""
        if query.processing != "batch":
            found = standard_rates(row.row, query.prompt_over)
        elif row.has_batch:
            found = Derived(dict(tier_for(row.row, query.prompt_over).batch))
        else:
            found = batch_rates(row.row, query.prompt_over, self._factor(query))
        return _rates(found, (), "user")

    def _published(self, query: PriceQuery) -> Rates | None:
        if query.priced_as is not None:
            query = replace(query, provider=query.priced_as)
        for name in names(query.provider, query.model):
            if name.family and not self.catalogue.is_family(query.provider, name.id):
                continue
            rows = [row for row in self.catalogue.rows(query.provider, name.id) if row.covers(query.at)]
            if rows:
                return self._in_region(rows, query, (BY_FAMILY,) if name.family else ())
        return None

    def _factor(self, query: PriceQuery) -> Decimal | None:
        """A batch's usual share of the standard price: the provider's own word, else the catalogue's."""
        if query.standard_factor is not None:
            return query.standard_factor
        return self.catalogue.factor(query.priced_as or query.provider)

    def _in_region(self, rows: list[Row], query: PriceQuery, flags: tuple[str, ...]) -> Rates | None:
        region = region_class(query.provider, query.region, query.geo)
        own = next((row for row in rows if row.region == region.name), None)
        row = own or next((row for row in rows if row.region is None), None)
        if row is None:
            return None
        if query.processing == "batch":
            found = batch_rates(row, query.prompt_over, row.batch_factor(self._factor(query)))
        else:
            found = standard_rates(row, query.prompt_over)
        found.estimated |= row.assumed & found.rates.keys()
        whole = found
        if own is None or region.name is None:
            found = _uplifted(found, row, region, query.at)
        priced_in = row.region if found is whole else region.name
        if not region.known and _region_matters(rows, query.at):
            flags = (*flags, REGION_ASSUMED)
        return _rates(found, flags, row.origin, priced_in)


def _uplifted(found: Derived, row: Row, region: Region, at: date) -> Derived:
    """Token rates times the region's factor; tools cost the same everywhere."""
    factor, since = row.uplift.get(region.name or "", (Decimal(1), None))
    if factor == 1 or (since is not None and at < since):
        return found
    return Derived(
        {bucket: rate if bucket in TOOLS else rate * factor for bucket, rate in found.rates.items()},
        found.estimated,
    )


def _region_matters(rows: list[Row], at: date) -> bool:
    uplifts = [since for row in rows for _, since in row.uplift.values()]
    return any(row.region for row in rows) or any(since is None or since <= at for since in uplifts)


def _multiplied(rates: Rates | None, multiplier: Decimal | None) -> Rates | None:
    if rates is None or multiplier is None:
        return rates
    scaled = {bucket: rate * multiplier for bucket, rate in rates.usd_per_million.items()}
    return replace(rates, usd_per_million=scaled, origin=f"user multiplier on {rates.origin}")


def _rates(found: Derived, flags: tuple[str, ...], origin: str, region: str | None = None) -> Rates:
    return Rates(
        usd_per_million=found.rates,
        estimated=bool(found.estimated),
        estimated_buckets=frozenset(found.estimated),
        flags=flags,
        origin=origin,
        region=region,
    )


@cache
def embedded() -> PriceBook:
    """The book without anybody's own rows."""
    return PriceBook()
