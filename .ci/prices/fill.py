"""Rates that a vendor's page states in words rather than in a column: filled in as published, before corrections."""

from decimal import Decimal
from typing import Any

from litellm_rows import Row, Tier

HALF = Decimal("0.5")


def fill(row: Row, entry: dict[str, Any]) -> None:
    """Complete one row by the vendor's own rule."""
    if row.provider == "anthropic" or (row.provider == "vertex_ai" and "claude" in row.model):
        _claude_writes(row)
    if entry.get("mode", "chat") in {"chat", "responses"}:
        for tier in row.tiers:
            _one_price_for_all(tier, entry, row.provider)


def _claude_writes(row: Row) -> None:
    """ "All usage is charged at 50 %", one-hour cache writes too; LiteLLM has a batch column for five-minute ones only."""
    for tier in row.tiers:
        if tier.batch and "cache_write_1h" in tier.standard and tier.standard.get("input"):
            whole = tier.standard["cache_write_1h"]
            tier.batch.setdefault("cache_write_1h", whole * HALF)


def _one_price_for_all(tier: Tier, entry: dict[str, Any], provider: str) -> None:
    """Pages that print one input price mean text, image and video by it, and audio where the model hears it."""
    for rates in (tier.batch, tier.standard):
        if "input" not in rates:
            continue
        if entry.get("supports_vision") and "image_in" not in rates and "image_in" not in tier.standard:
            rates["image_in"] = rates["input"]
    if provider in {"gemini", "vertex_ai"} and entry.get("supports_audio_input") and "audio_in" not in tier.standard:
        for rates in (tier.batch, tier.standard):
            for audio, text in (("audio_in", "input"), ("cached_audio_in", "cached_input")):
                if text in rates:
                    rates.setdefault(audio, rates[text])
