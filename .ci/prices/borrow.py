"""Numbers that LiteLLM lacks, from the other sources: batch rates of models it knows, and whole models it dropped."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from litellm_rows import PROVIDER_UPLIFTS, Row, Tier, cached_rule
from quotes import Quote

PUBLISHED = ("openai-cost-calculator", "azure-genai-prices", "genai-prices")
"""Sources that read vendors' batch tables, best first; model-prices applies a rule of its own.

The last one merges Vertex AI with the Gemini API, so it says nothing of Vertex AI.
"""

Key = tuple[str, str, str | None, int]
Prices = dict[str, dict[Key, dict[str, dict[str, Decimal]]]]
"""Source -> (provider, model, region, over) -> processing -> bucket -> rate."""


def indexed(quotes: Iterable[Quote]) -> Prices:
    """Quotes by where they apply."""
    prices: Prices = defaultdict(lambda: defaultdict(lambda: {"batch": {}, "standard": {}}))
    for quote in quotes:
        region = None if quote.region == "global" else quote.region
        key = (quote.provider, quote.model, region, quote.over)
        prices[quote.source][key][quote.processing][quote.bucket] = quote.rate
    return prices


def complete(rows: list[Row], prices: Prices) -> None:
    """Batch rates that a vendor publishes and LiteLLM does not list, where both agree on the standard rate."""
    for row in rows:
        for tier in row.tiers:
            for source in PUBLISHED[:2] if row.provider == "vertex_ai" else PUBLISHED:
                theirs = prices[source].get((row.provider, row.model, row.region, tier.over))
                if theirs:
                    _complete(row, tier, theirs, source)
    _snapshots(rows)


def _complete(row: Row, tier: Tier, theirs: dict[str, dict[str, Decimal]], source: str) -> None:
    for bucket, rate in theirs["batch"].items():
        same = tier.standard.get(bucket) is not None and theirs["standard"].get(bucket) == tier.standard[bucket]
        if bucket not in tier.batch and same:
            tier.batch[bucket] = rate
            if bucket == "input" and tier.over == 0:
                row.origin = source


def _snapshots(rows: list[Row]) -> None:
    """A dated OpenAI snapshot has its alias's batch rates, where it lists none and their standard rates are the same."""
    known = {(row.provider, row.model, row.region): row for row in rows}
    for row in rows:
        alias = known.get((row.provider, re.sub(r"-\d{4}-\d{2}-\d{2}$", "", row.model), row.region))
        if row.provider not in {"openai", "azure"} or alias is None or alias is row:
            continue
        if [(t.over, t.standard) for t in row.tiers] == [(t.over, t.standard) for t in alias.tiers]:
            for tier, theirs in zip(row.tiers, alias.tiers, strict=True):
                tier.batch = theirs.batch | tier.batch


def taken(takes: list[dict[str, Any]], rows: list[Row], prices: Prices) -> list[Row]:
    """Rows of models that only another source still lists, as corrections.toml names them."""
    known = {(row.provider, row.model) for row in rows}
    made: list[Row] = []
    for take in takes:
        source = prices[take["source"]]
        names = sorted({model for provider, model, _, _ in source if provider == take["provider"]})
        for name, ids in _wanted(take, names):
            for model in ids:
                if (take["provider"], model) not in known:
                    known.add((take["provider"], model))
                    made.append(_row(take, name, model, source))
    return made


def _wanted(take: dict[str, Any], names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The source's name -> our ids: by pattern, or spelled out in `ids`."""
    for pattern in take.get("models", []):
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise SystemExit(f"corrections.toml: {take['source']} has no {take['provider']}/{pattern}")
        yield from ((name, [name]) for name in matching)
    for name, ids in take.get("ids", {}).items():
        if name not in names:
            raise SystemExit(f"corrections.toml: {take['source']} has no {take['provider']}/{name}")
        yield name, ids


def _row(take: dict[str, Any], name: str, ours: str, source: dict[Key, dict[str, dict[str, Decimal]]]) -> Row:
    provider = take["provider"]
    tiers = [
        Tier(over, dict(rates["batch"]), dict(rates["standard"]))
        for (owner, model, region, over), rates in source.items()
        if (owner, model, region) == (provider, name, None)
    ]
    return Row(
        provider,
        ours,
        sorted(tiers, key=lambda tier: tier.over),
        cached=cached_rule(provider, ours),
        uplift=dict(PROVIDER_UPLIFTS.get(provider, {})),
        origin=take["source"],
    )
