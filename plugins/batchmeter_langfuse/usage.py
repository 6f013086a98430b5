"""Usage and cost as Langfuse sums them: disjoint whole numbers with their total, cost only where it is known."""

from decimal import Decimal

from batchmeter.models import Usage

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


def cost_details(cost: Decimal) -> dict[str, float]:
    """With any cost point given, Langfuse computes none of its own: its price table knows no batch prices."""
    return {"total": float(cost)}
