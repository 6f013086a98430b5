"""Rows -> the catalogue's bytes: equal rows share one entry, keys sorted, no clock: the same input is the same file."""

import gzip
import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

from litellm_rows import Row, Tier

from batchmeter.pricebook.names import without_snapshot


def document(
    rows: list[Row], *, built: str, sources: dict[str, str], factors: dict[str, str] | None = None
) -> dict[str, Any]:
    """The catalogue as one JSON document. `factors`: a provider's usual batch price, as a share of its standard one."""
    grouped: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        grouped[json.dumps(_entry(row), sort_keys=True)].append(row.model)
    entries: list[dict[str, Any]] = [
        {**json.loads(entry), "models": sorted(models)} for entry, models in grouped.items()
    ]
    entries.sort(
        key=lambda entry: (entry["provider"], entry["models"], entry.get("region") or "", entry.get("from") or "")
    )
    return {
        "format": 1,
        "built": built,
        "sources": sources,
        "factors": factors or {},
        "boundaries": sorted({tier.over for row in rows for tier in row.tiers if tier.over}),
        "families": families(rows),
        "rows": entries,
    }


def packed(content: dict[str, Any]) -> bytes:
    """Canonical JSON, compressed without name or time."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def families(rows: list[Row]) -> dict[str, list[str]]:
    """Undated ids that may speak for a snapshot nobody lists: none of their known snapshots has another price."""
    prices: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row.provider != "bedrock" and not row.model.startswith("ft:"):
            entry = _entry(row)
            for key in ("origin", "source", "reason"):
                entry.pop(key, None)
            prices[row.provider, row.model].append(json.dumps(entry, sort_keys=True))
    differing = {
        (provider, family)
        for (provider, model), own in prices.items()
        if (family := without_snapshot(provider, model)) != model
        and sorted(own) != sorted(prices.get((provider, family), own))
    }
    found: dict[str, list[str]] = defaultdict(list)
    for provider, model in sorted(prices):
        if without_snapshot(provider, model) == model and (provider, model) not in differing:
            found[provider].append(model)
    return dict(found)


def _entry(row: Row) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "provider": row.provider,
        "cached": row.cached,
        "origin": row.origin,
        "tiers": [_tier(tier) for tier in row.tiers],
    }
    optional = {
        "region": row.region,
        "from": row.valid_from,
        "until": row.valid_until,
        "uplift": row.uplift,
        "source": row.source,
        "reason": row.reason,
        "factor": row.factor,
        "assumed": sorted(row.assumed),
    }
    return entry | {key: value for key, value in optional.items() if value}


def _tier(tier: Tier) -> dict[str, Any]:
    rates = {"batch": _strings(tier.batch), "standard": _strings(tier.standard)}
    return {"over": tier.over, **{processing: numbers for processing, numbers in rates.items() if numbers}}


def _strings(rates: dict[str, Decimal]) -> dict[str, str]:
    return {bucket: plain(rate) for bucket, rate in rates.items()}


def plain(rate: Decimal) -> str:
    """`0.13`, never `1.3E-1`."""
    text = format(rate, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
