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
    "cache_read_input_image_token_cost": "cached_image_in",
    "input_cost_per_video_token": "video_in",
    "cache_creation_input_token_cost_above_12hr": "cache_write_1h",
    "output_cost_per_token": "output",
    "output_cost_per_audio_token": "audio_out",
    "output_cost_per_image_token": "image_out",
    "output_cost_per_video_token": "video_out",
    "google_maps_grounding_cost_per_query": "maps_query",
    "ocr_cost_per_page": "page",
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
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "fireworks_ai-embedding-models": "fireworks",
    "deepinfra": "deepinfra",
    "dashscope": "dashscope",
    "moonshot": "moonshot",
    "voyage": "voyage",
}
"""`vertex_ai` and every `vertex_ai-*` are Vertex too."""

MODES = frozenset(
    {
        "chat",
        "responses",
        "completion",
        "embedding",
        "image_generation",
        "moderation",
        "audio_transcription",
        "audio_speech",
        "ocr",
        "rerank",
    }
)
"""Kinds of models that can be in a batch somewhere."""
BY_UNIT = {
    "embedding": {"input_cost_per_image": "input_image"},
    "audio_transcription": {"input_cost_per_second": "audio_second"},
}
"""Mode -> fields that mean a unit of their own there; elsewhere they restate a token rate."""

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
"""The first of these prefixes counts, where Azure has several global rows of one model."""

MIRRORED = frozenset({"together", "fireworks", "deepinfra", "dashscope", "moonshot", "voyage"})
"""Providers whose models LiteLLM lists as `its own name of the provider/model` only."""

_LONG = re.compile(r"^(?P<field>.+?)(?:_above_(?P<k>\d+)k_tokens)?(?P<batch>_batches)?$")


@dataclass
class Tier:
    """Rates of prompts longer than `over` tokens, by processing."""

    over: int
    batch: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    standard: dict[str, Decimal] = field(default_factory=dict[str, Decimal])


@dataclass
class Row:
    """One model's rates at one provider, in one region class, for one span of time."""

    provider: str
    model: str
    tiers: list[Tier]
    region: str | None = None
    valid_from: str | None = None
    valid_until: str | None = None
    """Exclusive."""
    cached: str = "half"
    """A cached token's price in a batch without a batch rate for it: `batch_input`, `standard`, `half`, `discount`,
    or `none`: not known."""
    uplift: dict[str, list[str | None]] = field(default_factory=dict[str, list[str | None]])
    """Region class -> [factor, from]."""
    origin: str = "litellm"
    source: str | None = None
    reason: str | None = None
    factor: str | None = None
    """The batch's share of the standard price where it is not the provider's usual one; `none`: no batch of it."""
    assumed: list[str] = field(default_factory=list[str])
    """Buckets whose rate holds in the usual case only: what they cost is an estimate."""

    def tier(self, over: int) -> Tier:
        """The tier at exactly this threshold, made when missing."""
        for tier in self.tiers:
            if tier.over == over:
                return tier
        made = Tier(over)
        self.tiers = sorted([*self.tiers, made], key=lambda t: t.over)
        return made


def rows(price_map: dict[str, dict[str, Any]]) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Every priced row of ours that LiteLLM's map holds, with its entry; one per (provider, model, region)."""
    best: dict[tuple[str, str, str | None], int] = {}
    made: list[tuple[tuple[str, str, str | None], int, Row, dict[str, Any]]] = []
    for (provider, model, region, rank), entry in placed(price_map):
        row = _row(provider, model, region, entry)
        if any(tier.standard or tier.batch for tier in row.tiers) or _says_zero(entry):
            identity = (provider, model, region)
            best[identity] = min(rank, best.get(identity, rank))
            made.append((identity, rank, row, entry))
    for identity, rank, row, entry in made:
        if best.get(identity) == rank:
            del best[identity]
            if any(tier.standard or tier.batch for tier in row.tiers):
                yield row, entry


def _says_zero(entry: dict[str, Any]) -> bool:
    """A model's own key with zeros has no price, and none of a rival key's: experimental models stand there so, and the
    rival's price is some other model's.
    """
    return any(entry.get(name) == 0 for name in ("input_cost_per_token", "output_cost_per_token"))


def placed(price_map: dict[str, dict[str, Any]]) -> Iterator[tuple[tuple[str, str, str | None, int], dict[str, Any]]]:
    """Entries of what may be in a batch: (provider, model, region class, rank among rivals), priced or not."""
    for key, entry in price_map.items():
        mode = entry.get("mode", "chat")
        place = _place(key, str(entry.get("litellm_provider", ""))) if mode in MODES else None
        if place is not None and (mode != "audio_speech" or place[0] in {"gemini", "vertex_ai"}):
            yield place, entry


def _place(key: str, litellm_provider: str) -> tuple[str, str, str | None, int] | None:
    """LiteLLM's key -> (provider, model, region class, rank among rivals), None where it is no batch business."""
    provider = "vertex_ai" if litellm_provider.startswith("vertex_ai") else PROVIDERS.get(litellm_provider)
    if provider is None:
        return None
    if provider == "azure":
        return _azure(key)
    if provider == "bedrock":
        return _bedrock(key)
    prefix = f"{litellm_provider.partition('-')[0] if provider in MIRRORED else provider}/"
    bare = key.removeprefix(prefix)
    sized = (provider in MIRRORED and bare == key) or (provider == "openai" and "/" in bare)
    return (
        None if sized else (provider, bare, None, 0 if key.startswith(prefix) else 1)
    )  # sizes and defaults, no models


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


def _row(provider: str, model: str, region: str | None, entry: dict[str, Any]) -> Row:
    """A zero is no rate: the map has zeros where a price is not published, or by another unit."""
    row = Row(provider, model, [Tier(0)], region=region, cached=cached_rule(provider, model))
    fields = FIELDS | BY_UNIT.get(entry.get("mode", "chat"), {})
    for name, value in entry.items():
        match = _LONG.match(name)
        bucket = fields.get(match["field"]) if match else None
        if match is not None and bucket is not None and value:
            # xAI moves at 200k exactly, everyone else above the threshold.
            over = int(match["k"] or 0) * 1000 - (1 if provider == "xai" and match["k"] else 0)
            tier = row.tier(over)
            (tier.batch if match["batch"] else tier.standard)[bucket] = per_million(value)
    for tier in entry.get("tiered_pricing") or ():
        rates = {fields[name]: per_million(value) for name, value in tier.items() if name in fields and value}
        row.tier(int(tier["range"][0])).standard.update(rates)
    row.tiers = [tier for tier in row.tiers if tier.over == 0 or _whole(tier)]
    _web_search(row, entry)
    _by_character(row, entry)
    _uplift(row, entry)
    return row


def _whole(tier: Tier) -> bool:
    """A longer tier that names audio alone is no tier of the request."""
    return "input" in tier.standard or "input" in tier.batch


def per_million(value: object) -> Decimal:
    """Dollars per token -> dollars per million; the map's floats are short decimals, so this is exact."""
    number = (Decimal(str(value)) * MILLION).normalize()
    return number or Decimal(0)


def _web_search(row: Row, entry: dict[str, Any]) -> None:
    """A search's price, where it does not depend on how much context was asked for: no answer tells that."""
    rates = {str(rate) for rate in (entry.get("search_context_cost_per_query") or {}).values()}
    if len(rates) == 1 and (rate := per_million(rates.pop())):
        row.tiers[0].standard["web_search"] = rate
    if entry.get("search_free_requests"):  # an allowance by day or month that no file tells of
        row.assumed += ["web_search", *(["maps_query"] if "maps_query" in row.tiers[0].standard else [])]


def _by_character(row: Row, entry: dict[str, Any]) -> None:
    """Google bills these embeddings by the character; LiteLLM's token rate takes four of them for a token."""
    if entry.get("mode") == "embedding" and "input_cost_per_character" in entry:
        row.assumed.append("input")


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
    if provider in {"groq", "bedrock", "dashscope"}:
        return "batch_input"
    if provider in MIRRORED:
        return "none"  # nobody publishes one
    if provider == "gemini" or (provider == "vertex_ai" and "claude" not in model):
        return "standard"
    return "discount" if provider == "xai" else "half"
