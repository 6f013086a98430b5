"""LiteLLM's price map -> our rows: every number a decimal per million tokens, one row per provider, id and region."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

MILLION = Decimal(1_000_000)

FIELDS = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_in",
    "cache_read_input_audio_token_cost": "cached_audio_in",
    "input_cost_per_image_token": "image_in",
    "cache_creation_input_token_cost_above_12hr": "cache_write_1h",
    "output_cost_per_token": "output",
    "output_cost_per_audio_token": "audio_out",
    "output_cost_per_image_token": "image_out",
}
"""LiteLLM's field -> our bucket; `_above_<n>k_tokens` and `_batches` may follow, in that order."""

PROVIDERS = {
    "openai": "openai",
    "text-completion-openai": "openai",
    "azure": "azure",
    "azure_text": "azure",
    "gemini": "gemini",
    "anthropic": "anthropic",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "mistral": "mistral",
    "groq": "groq",
    "xai": "xai",
}
"""`vertex_ai` and every `vertex_ai-*` are Vertex too."""

MODES = frozenset(
    {"chat", "responses", "completion", "embedding", "image_generation", "moderation", "audio_transcription"}
)

AZURE_CLASSES = {
    "eu": "data-zone-eu",
    "us": "data-zone-us",
    "apac": "data-zone-apac",
    "global": None,
    "global-standard": None,
}
PROVIDER_UPLIFTS: dict[str, dict[str, list[str | None]]] = {
    "azure": {"data-zone-eu": ["1.1", None], "data-zone-us": ["1.1", None], "data-zone-apac": ["1.2", None]},
    "mistral": {"eu": ["1.1", None]},
}
"""Region class -> factor over the global price, for every model of a provider."""

AZURE_PRECEDENCE = ("global", "global-standard", "")
"""Which of several global rows of one Azure model counts."""

_LONG = re.compile(r"^(?P<field>.+?)(?:_above_(?P<k>\d+)k_tokens)?(?P<batch>_batches)?$")


@dataclass
class Tier:
    """Rates of prompts longer than `over` tokens, by processing."""

    over: int
    batch: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    standard: dict[str, Decimal] = field(default_factory=dict[str, Decimal])


@dataclass
class Row:
    """What one model costs at one provider, in one region class, for one span of time."""

    provider: str
    model: str
    tiers: list[Tier]
    region: str | None = None
    valid_from: str | None = None
    valid_until: str | None = None
    """Exclusive."""
    cached: str = "half"
    """What a cached token costs in a batch when no batch rate says it: `batch_input`, `standard`, `half`, `discount`."""
    uplift: dict[str, list[str | None]] = field(default_factory=dict[str, list[str | None]])
    """Region class -> [factor, from]."""
    origin: str = "litellm"
    source: str | None = None
    reason: str | None = None

    def tier(self, over: int) -> Tier:
        """The tier at exactly this threshold, made when missing."""
        for tier in self.tiers:
            if tier.over == over:
                return tier
        made = Tier(over)
        self.tiers = sorted([*self.tiers, made], key=lambda t: t.over)
        return made


def rows(price_map: dict[str, dict[str, Any]]) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Every row of ours that LiteLLM's map holds, with its entry; one per (provider, model, region)."""
    seen: dict[tuple[str, str, str | None], int] = {}
    made: list[tuple[tuple[str, str, str | None], int, Row, dict[str, Any]]] = []
    for key, entry in price_map.items():
        if entry.get("mode", "chat") not in MODES:
            continue
        placed = _place(key, str(entry.get("litellm_provider", "")))
        if placed is None or (placed[0] == "vertex_ai" and "input_cost_per_character" in entry):
            continue  # Google bills these by character: no token count tells their price
        provider, model, region, rank = placed
        row = _row(provider, model, region, entry)
        if row is None:
            continue
        identity = (provider, model, region)
        seen[identity] = min(rank, seen.get(identity, rank))
        made.append((identity, rank, row, entry))
    for identity, rank, row, entry in made:
        if seen.get(identity) == rank:
            del seen[identity]
            yield row, entry


def _place(key: str, litellm_provider: str) -> tuple[str, str, str | None, int] | None:
    """LiteLLM's key -> (provider, model, region class, rank among rivals), None where it is no batch business."""
    provider = "vertex_ai" if litellm_provider.startswith("vertex_ai") else PROVIDERS.get(litellm_provider)
    if provider is None:
        return None
    if provider == "azure":
        return _azure(key)
    if provider == "bedrock":
        return _bedrock(key)
    prefix = f"{provider}/"
    bare = key.removeprefix(prefix)
    if provider == "openai" and "/" in bare:  # size/quality rows of image models
        return None
    if provider == "vertex_ai":
        bare = bare.removeprefix("vertex_ai/")
        return provider, bare, None, 0 if key.startswith(prefix) else 1
    return provider, bare, None, 0 if key.startswith(prefix) else 1


def _azure(key: str) -> tuple[str, str, str | None, int] | None:
    parts = key.removeprefix("azure/").split("/")
    if len(parts) == 1:
        return "azure", parts[0], None, AZURE_PRECEDENCE.index("")
    if len(parts) != 2 or parts[0] not in AZURE_CLASSES:
        return None
    region = AZURE_CLASSES[parts[0]]
    rank = AZURE_PRECEDENCE.index(parts[0]) if region is None else 0
    return "azure", parts[1], region, rank


def _bedrock(key: str) -> tuple[str, str, str | None, int] | None:
    parts = key.removeprefix("bedrock/").split("/")
    if len(parts) == 1:
        return "bedrock", parts[0], None, 1 if key.startswith("bedrock/") else 0
    if len(parts) == 2 and re.fullmatch(r"[a-z]{2}(-gov)?-[a-z]+-\d", parts[0]):
        return "bedrock", parts[1], parts[0], 0
    return None  # commitments, sizes, other products


def _row(provider: str, model: str, region: str | None, entry: dict[str, Any]) -> Row | None:
    row = Row(provider, model, [Tier(0)], region=region)
    for name, value in entry.items():
        match = _LONG.match(name)
        bucket = FIELDS.get(match["field"]) if match else None
        if match is None or bucket is None or value is None:
            continue
        # xAI moves at 200k exactly, everyone else above the threshold.
        over = int(match["k"] or 0) * 1000 - (1 if provider == "xai" and match["k"] else 0)
        rates = row.tier(over).batch if match["batch"] else row.tier(over).standard
        rates[bucket] = per_million(value)
    if not row.tiers[0].standard and not row.tiers[0].batch:
        return None
    _keep_token_priced(row, entry)
    _web_search(row, entry)
    _uplift(row, entry)
    row.cached = cached_rule(provider, model)
    return row


def per_million(value: object) -> Decimal:
    """Dollars per token -> dollars per million; the map's floats are short decimals, so this is exact."""
    number = (Decimal(str(value)) * MILLION).normalize()
    return number or Decimal(0)


def _keep_token_priced(row: Row, entry: dict[str, Any]) -> None:
    """A zero means "not priced by token" where the entry charges per character, image, second or page."""
    other_units = any(
        name.startswith(("input_cost_per_", "output_cost_per_")) and "token" not in name for name in entry
    )
    if not other_units:
        return
    for tier in row.tiers:
        for rates in (tier.batch, tier.standard):
            for bucket in [b for b, rate in rates.items() if not rate]:
                del rates[bucket]


def _web_search(row: Row, entry: dict[str, Any]) -> None:
    """Claude's searches cost the same in a batch: server tools are not discounted."""
    per_query = entry.get("search_context_cost_per_query")
    if "claude" in row.model and isinstance(per_query, dict) and "search_context_size_medium" in per_query:
        rate = per_million(per_query["search_context_size_medium"])
        row.tiers[0].standard["web_search"] = rate
        row.tiers[0].batch["web_search"] = rate


def _uplift(row: Row, entry: dict[str, Any]) -> None:
    regional = entry.get("regional_endpoint_uplift_multiplier")
    residency = entry.get("regional_processing_uplift_multiplier_eu")
    geo = (entry.get("provider_specific_entry") or {}).get("us")
    if row.region is None:
        row.uplift.update(PROVIDER_UPLIFTS.get(row.provider, {}))
    if row.provider == "vertex_ai" and regional:
        row.uplift["regional"] = [str(regional), None if "claude" in row.model else "2026-07-01"]
    if row.provider == "openai" and residency:
        row.uplift["resident"] = [str(residency), None]
    if row.provider == "anthropic" and geo:
        row.uplift["us"] = [str(geo), None]


BEFORE_GPT_5 = re.compile(r"^(?:ft:)?(?:gpt-3|gpt-4|chatgpt-4o|o1|o3|o4|codex-mini|davinci|babbage|text-|omni-)")
"""OpenAI's models without prompt caching on the Batch API."""


def cached_rule(provider: str, model: str) -> str:
    """The vendor's own rule for cached tokens of a batch, for rows without a batch cached rate."""
    if provider in {"openai", "azure"}:
        return "batch_input" if BEFORE_GPT_5.match(model) else "half"
    if provider in {"groq", "bedrock"}:
        return "batch_input"
    if provider == "gemini" or (provider == "vertex_ai" and "claude" not in model):
        return "standard"
    return "discount" if provider == "xai" else "half"
