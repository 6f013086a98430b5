"""Lay our own dated, sourced corrections over rows: a row is split where a correction begins or ends."""

import copy
from collections.abc import Iterable
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from litellm_rows import Row, Tier

from batchmeter.pricing.groups import TOOLS

REQUIRED = ("provider", "models", "source", "verified", "reason")
KEYS = {
    *REQUIRED,
    "from",
    "until",
    "region",
    "batch",
    "standard",
    "tiers",
    "replace",
    "uplift",
    "cached",
    "remove",
    "scale",
    "factor",
    "assumed",
    "free",
}


def laid_under(rows: Iterable[Row], terms: list[dict[str, Any]]) -> None:
    """Terms that a vendor's page states once for many models fill in what their rows do not say."""
    for row in rows:
        for term in terms:
            check(term)
            if row.provider == term["provider"] and any(fnmatchcase(row.model, name) for name in term["models"]):
                _filled(row, term)


def _filled(row: Row, term: dict[str, Any]) -> None:
    new = {bucket: rate for bucket, rate in _numbers(term.get("standard", {})).items() if not _rated(row, bucket)}
    row.tiers[0].standard.update(new)
    row.assumed += [bucket for bucket in term.get("assumed", []) if bucket in new]
    row.factor = row.factor or term.get("factor")
    row.cached = term.get("cached", row.cached)


def _rated(row: Row, bucket: str) -> bool:
    return any(bucket in tier.standard or bucket in tier.batch for tier in row.tiers)


def corrected(rows: Iterable[Row], corrections: list[dict[str, Any]]) -> list[Row]:
    """Rows after every correction, in order; a correction of a model that nobody lists makes its row."""
    table: dict[tuple[str, str, str | None], list[Row]] = {}
    for row in rows:
        table.setdefault((row.provider, row.model, row.region), []).append(row)
    for correction in corrections:
        check(correction)
        for model in correction["models"]:
            key = (correction["provider"], model, correction.get("region"))
            if correction.get("remove"):
                del table[key]
                continue
            existing = table.setdefault(key, [Row(key[0], model, [Tier(0)], region=key[2])])
            table[key] = [piece for row in existing for piece in _laid_over(row, correction)]
    return [row for spans in table.values() for row in spans if row.tiers[0].batch or row.tiers[0].standard]


def check(correction: dict[str, Any]) -> None:
    """A correction without source, date and reason is not one."""
    missing = [key for key in REQUIRED if not correction.get(key)]
    unknown = sorted(set(correction) - KEYS)
    if missing or unknown:
        raise SystemExit(f"corrections.toml: {correction.get('models')}: missing {missing}, unknown {unknown}")
    parts = [correction, *correction.get("tiers", [])]
    rates = [Decimal(rate) for part in parts for name in ("batch", "standard") for rate in part.get(name, {}).values()]
    if not all(rates) and not correction.get("free"):
        raise SystemExit(
            f"corrections.toml: {correction['models']}: a rate of 0 needs `free = true`: its page says free"
        )


def _laid_over(row: Row, correction: dict[str, Any]) -> list[Row]:
    """The row before, within and after the correction's dates."""
    start, end = (_iso(correction.get(key)) for key in ("from", "until"))
    begin = max(filter(None, (row.valid_from, start)), default=None)
    finish = min(filter(None, (row.valid_until, end)), default=None)
    if begin is not None and finish is not None and begin >= finish:
        return [row]
    pieces: list[Row] = []
    if begin is not None and begin != row.valid_from:
        pieces.append(_span(row, row.valid_from, begin))
    pieces.append(_changed(_span(row, begin, finish), correction))
    if finish is not None and finish != row.valid_until:
        pieces.append(_span(row, finish, row.valid_until))
    return pieces


def _span(row: Row, begin: str | None, finish: str | None) -> Row:
    span = copy.deepcopy(row)
    span.valid_from, span.valid_until = begin, finish
    return span


def _changed(row: Row, correction: dict[str, Any]) -> Row:
    if correction.get("replace"):
        row.tiers = [Tier(0)]
    if "scale" in correction:
        row.tiers = [_scaled(tier, Decimal(correction["scale"])) for tier in row.tiers]
    for part in ({"over": 0, **correction}, *correction.get("tiers", [])):
        tier = row.tier(part["over"])
        tier.batch.update(_numbers(part.get("batch", {})))
        tier.standard.update(_numbers(part.get("standard", {})))
    row.uplift.update(
        {
            name: [str(value[0]), _iso(value[1])] if isinstance(value, list) else [str(value), None]
            for name, value in correction.get("uplift", {}).items()
        }
    )
    row.cached = correction.get("cached", row.cached)
    row.factor = correction.get("factor", row.factor)
    row.assumed = [*dict.fromkeys([*row.assumed, *correction.get("assumed", [])])]
    row.origin, row.source = "correction", correction["source"]
    row.reason = correction["reason"]
    return row


def _scaled(tier: Tier, factor: Decimal) -> Tier:
    """Token rates times the factor; tools keep their price."""
    batch, standard = (
        {bucket: rate if bucket in TOOLS else rate * factor for bucket, rate in rates.items()}
        for rates in (tier.batch, tier.standard)
    )
    return Tier(tier.over, batch, standard)


def _numbers(raw: dict[str, str]) -> dict[str, Decimal]:
    return {bucket: Decimal(rate) for bucket, rate in raw.items()}


def _iso(value: object) -> str | None:
    return None if value is None else str(value)
