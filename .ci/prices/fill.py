"""Rates that a vendor's page states in words rather than in a column: filled in as published, before corrections."""

from decimal import Decimal
from typing import Any

from litellm_rows import Row, Tier

from batchmeter.pricing.groups import TOOLS

HALF = Decimal("0.5")


def fill(row: Row, entry: dict[str, Any]) -> None:
    """Complete one row by the vendor's own rule."""
    if row.provider == "anthropic":
        _half_of_everything(row)
    if row.provider == "vertex_ai" and "claude" in row.model:
        _claude_writes(row)
    priced_apart = "claude" in row.model or row.model.startswith("gpt-image")
    if entry.get("mode", "chat") in {"chat", "responses", "image_generation"} and not priced_apart:
        for tier in row.tiers:
            _one_price_for_all(tier, entry, google="gemini" in row.model)


def _half_of_everything(row: Row) -> None:
    """Anthropic: "All usage is charged at 50% of the standard API prices", of every model; searches are not usage."""
    for tier in row.tiers:
        for bucket, rate in tier.standard.items():
            if bucket not in TOOLS:
                tier.batch.setdefault(bucket, rate * HALF)


def _claude_writes(row: Row) -> None:
    """ "All usage is charged at 50 %", one-hour cache writes too; LiteLLM has a batch column for five-minute ones only."""
    for tier in row.tiers:
        if tier.batch and "cache_write_1h" in tier.standard and tier.standard.get("input"):
            whole = tier.standard["cache_write_1h"]
            tier.batch.setdefault("cache_write_1h", whole * HALF)


def _one_price_for_all(tier: Tier, entry: dict[str, Any], *, google: bool) -> None:
    """Pages that print one input price mean text, image and video by it, and audio where the model hears it."""
    if "image_in" not in tier.standard and (entry.get("supports_vision") or (google and "input" in tier.standard)):
        _copy(tier, "input", "image_in")
    if tier.standard.get("image_in") == tier.standard.get("input"):
        _copy(tier, "cached_input", "cached_image_in")
    if not google:
        return
    if "video_in" not in tier.standard and "input" in tier.standard:
        _copy(tier, "input", "video_in")
    if tier.standard.get("video_in") == tier.standard.get("input"):
        _copy(tier, "cached_input", "cached_video_in")
    if "audio_in" not in tier.standard and entry.get("supports_audio_input"):
        _copy(tier, "input", "audio_in")
    if tier.standard.get("audio_in") == tier.standard.get("input"):
        _copy(tier, "input", "audio_in")
        _copy(tier, "cached_input", "cached_audio_in")
    _cached_audio(tier)


def _copy(tier: Tier, bucket: str, to: str) -> None:
    for rates in (tier.batch, tier.standard):
        if bucket in rates:
            rates.setdefault(to, rates[bucket])


def _cached_audio(tier: Tier) -> None:
    """Cached audio is halved in a batch as cached text is."""
    whole, batch = tier.standard.get("cached_input"), tier.batch.get("cached_input")
    if whole and batch and "cached_audio_in" in tier.standard:
        tier.batch.setdefault("cached_audio_in", tier.standard["cached_audio_in"] * batch / whole)
