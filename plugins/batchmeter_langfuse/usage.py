"""Usage and cost as Langfuse sums them: disjoint whole numbers with their total, cost only where it is known."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Context, Decimal, localcontext

from batchmeter.models import RatesUsed, Usage

_PARTS = {
    "input": "input",
    "cached_input": "input_cached_tokens",
    "cached_audio_in": "input_cached_tokens",
    "cached_image_in": "input_cached_tokens",
    "cached_video_in": "input_cached_tokens",
    "cache_write_5m": "input_cache_creation",
    "cache_write_1h": "input_cache_creation",
    "audio_in": "input_audio_tokens",
    "image_in": "input_image_tokens",
    "audio_out": "output_audio_tokens",
    "image_out": "output_image_tokens",
}
"""Bucket -> the usage of Langfuse that it is a price of; another bucket keeps its name."""
_EXACT = Context(prec=80)
Details = dict[str, int]


def usage_details(usage: Usage) -> Details:
    """Parts that add up to `total`. Langfuse groups keys by the words `input` and `output` in them."""
    inputs = {
        "input_cached_tokens": usage.cached_input_tokens,
        "input_cache_creation": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "input_audio_tokens": usage.audio_input_tokens,
        "input_image_tokens": usage.image_input_tokens,
    }
    outputs = {
        "output_reasoning_tokens": usage.reasoning_tokens,
        "output_audio_tokens": usage.audio_output_tokens,
        "output_image_tokens": usage.image_output_tokens,
    }
    parts = {
        "input": max(0, usage.input_tokens - sum(inputs.values())),
        "output": max(0, usage.output_tokens - sum(outputs.values())),
        **inputs,
        **outputs,
    }
    kept = {name: count for name, count in parts.items() if count or name in ("input", "output")}
    return {**kept, "total": usage.total_tokens}


def cost_details(cost: Decimal, rates: Sequence[RatesUsed] = ()) -> dict[str, float]:
    """With any cost point given, Langfuse computes none of its own: its price table knows no batch prices.

    Parts are given where the rates explain the whole cost.
    """
    parts: defaultdict[str, Decimal] = defaultdict(Decimal)
    with localcontext(_EXACT):
        for used in rates:
            for bucket, units in used.units.items():
                amount = used.usd_per_million.get(bucket, Decimal(0)) * units / 1_000_000
                parts[_PARTS.get(bucket, bucket)] += amount
        whole = sum(parts.values(), Decimal(0)) == cost
    return {**({name: float(part) for name, part in parts.items()} if whole else {}), "total": float(cost)}
