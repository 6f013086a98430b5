"""OpenAI's own rows, which most other vendors write too: chat, responses, embeddings and images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

from msgspec import Struct

from batchmeter.metering.dialects import Dialect, Dialects, Usage

_LONG_WRITE = (
    "prompt_tokens_details.cache_write_tokens_details.ttl_12h_tokens"
    "|prompt_tokens_details.cache_write_tokens_details.ttl_1h_tokens"
)
_CACHED = "prompt_tokens_details.cached_tokens|cached_tokens|prompt_cache_hit_tokens"
"""In its details, or flat, as some compatibles have it."""
_CACHED_AUDIO = "prompt_tokens_details.cached_tokens_details.audio_tokens"
_REASONED = "completion_tokens_details.reasoning_tokens|reasoning_tokens"
_CHAT_OUTPUT = (
    "completion_tokens - completion_tokens_details.audio_tokens - completion_tokens_details.image_tokens"
    " - completion_tokens_details.video_tokens"
)
_CHAT = {
    "input": f"prompt_tokens - {_CACHED} - prompt_tokens_details.cache_write_tokens"
    f" - prompt_tokens_details.audio_tokens + {_CACHED_AUDIO}",
    "cached_input": f"{_CACHED} - {_CACHED_AUDIO}",
    "cache_write_5m": f"prompt_tokens_details.cache_write_tokens - {_LONG_WRITE}",
    "cache_write_1h": _LONG_WRITE,
    "audio_in": f"prompt_tokens_details.audio_tokens - {_CACHED_AUDIO}",
    "cached_audio_in": _CACHED_AUDIO,
    "audio_out": "completion_tokens_details.audio_tokens",
    "image_out": "completion_tokens_details.image_tokens",
    "video_out": "completion_tokens_details.video_tokens",
    "web_search": "num_sources_used + num_search_queries",
    "file_search": "num_file_searches",
    "maps_query": "num_maps_queries",
    "output": _CHAT_OUTPUT,
}
_REPORTED = {"cost_in_usd_ticks": Decimal("1e-10"), "cost.total_cost": Decimal(1), "cost": Decimal(1)}
"""Amounts in USD that some compatibles put on every row."""
_BYOK = "is_byok"
"""A router's row that was paid with the caller's own key at another vendor: `cost` is the router's fee only."""
_MONEY = {"cost.*", "cost_details.*"}
_TIMES = {"queue_time", "prompt_time", "completion_time", "total_time"}
"""Seconds that some compatibles send along with their counters."""

_INSIDE = Dialect(
    name="chat",
    needs="prompt_tokens completion_tokens|total_tokens",
    prompt="prompt_tokens",
    buckets=_CHAT,
    reasoning=_REASONED,
    total="total_tokens",
    harmless=frozenset(
        {
            "prompt_tokens_details.text_tokens",
            "prompt_tokens_details.image_tokens",
            "prompt_tokens_details.cached_tokens_details.*",
            "prompt_tokens_details.cache_write_tokens_details.ttl_30m_tokens",
            "completion_tokens_details.text_tokens",
            "completion_tokens_details.accepted_prediction_tokens",
            "completion_tokens_details.rejected_prediction_tokens",
            "prompt_cache_miss_tokens",
            *_MONEY,
            *_TIMES,
        }
    ),
    reported=_REPORTED,
    reported_unless=_BYOK,
)

_BESIDE = replace(_INSIDE, name="chat_reasoning_beside", buckets=_CHAT | {"output": f"{_CHAT_OUTPUT} + {_REASONED}"})
CHAT = replace(_INSIDE, readings=(_BESIDE,))
"""OpenAI chat, completions and embeddings, and most compatibles: details are inside their sums. Prediction tokens are
inside completion_tokens, image tokens of a prompt are billed as its text. Which of the cached tokens are audio, OpenAI
says in its Realtime usage, and translated answers of other vendors in the same place."""
REASONING_BESIDE = replace(_BESIDE, readings=(_INSIDE,))
"""Compatibles whose reasoning is beside completion_tokens, and is billed as output."""

_KEPT = "input_tokens_details.cache_write_tokens_details.ttl_12h_tokens"
RESPONSES = Dialect(
    name="responses",
    needs="input_tokens output_tokens|total_tokens",
    prompt="input_tokens",
    buckets={
        "input": "input_tokens - input_tokens_details.cached_tokens - input_tokens_details.cache_write_tokens"
        " - input_tokens_details.audio_tokens",
        "cached_input": "input_tokens_details.cached_tokens",
        "cache_write_5m": f"input_tokens_details.cache_write_tokens - {_KEPT}",
        "cache_write_1h": _KEPT,
        "audio_in": "input_tokens_details.audio_tokens",
        "audio_out": "output_tokens_details.audio_tokens",
        "web_search": "web_search_calls + num_sources_used",
        "file_search": "file_search_calls",
        "container": "containers",
        "image_generation": "image_generation_calls|tool_usage.image_gen",
        "output": "output_tokens - output_tokens_details.audio_tokens",
    },
    reasoning="output_tokens_details.reasoning_tokens",
    total="total_tokens",
    harmless=frozenset(
        {
            "input_tokens_details.text_tokens",
            "input_tokens_details.image_tokens",
            "input_tokens_details.cache_write_tokens_details.ttl_30m_tokens",
            "output_tokens_details.text_tokens",
            *_MONEY,
            *_TIMES,
        }
    ),
    reported=_REPORTED,
    reported_unless=_BYOK,
    marks="!message",
)

IMAGES = Dialect(
    name="images",
    needs="input_tokens output_tokens|total_tokens",
    prompt="input_tokens",
    buckets={
        "input": "input_tokens - input_tokens_details.image_tokens - input_tokens_details.cached_tokens",
        "cached_input": "input_tokens_details.cached_tokens",
        "image_in": "input_tokens_details.image_tokens",
        "image_out": "output_tokens - output_tokens_details.text_tokens",
        "output": "output_tokens_details.text_tokens",
    },
    total="total_tokens",
    harmless=frozenset({"input_tokens_details.text_tokens", "output_tokens_details.image_tokens", *_MONEY}),
    reported=_REPORTED,
    reported_unless=_BYOK,
    marks="images",
)
"""OpenAI image generations and edits: output is image tokens unless the details say text."""
IMAGES_BY_DETAILS = replace(
    IMAGES, name="images_by_details", needs=f"{IMAGES.needs} input_tokens_details.image_tokens", marks="!response"
)

_CALLS = {
    "file_search_call": "file_search_calls",
    "code_interpreter_call": "containers",
    "image_generation_call": "image_generation_calls",
}
"""Items of a Responses body that are billed by themselves -> what they count as."""
_UNBILLED = frozenset(
    {
        "message",
        "reasoning",
        "compaction",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "computer_call",
        "computer_call_output",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "mcp_call",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "tool_search_call",
        "tool_search_output",
    }
)
"""Items that cost their tokens only; a shell of OpenAI's own runs in a container, which is billed."""
_LOOKED = frozenset({"open_page", "find_in_page"})
"""Actions of a web search call that search nothing."""


class _Environment(Struct, gc=False):
    """Where a hosted shell ran."""

    container_id: str | None = None


class _Action(Struct, gc=False):
    """The action of a web search call."""

    type: str | None = None


class Item(Struct, gc=False):
    """One item of a Responses body."""

    type: str | None = None
    status: str | None = None
    action: _Action | None = None
    container_id: str | None = None
    environment: _Environment | None = None


def _items(output: Sequence[Item]) -> Mapping[str, int]:
    """Uses of OpenAI's own tools: billed, and in no counter of `usage`. Calls share a container."""
    counts: Usage = {}
    containers: set[str | None] = set()
    for item in output:
        named = _counted_as(item)
        if named is not None:
            counts[named] = counts.get(named, 0) + 1
        containers.add(item.container_id or (item.environment.container_id if item.environment else None))
    known = len(containers - {None})
    if known or "containers" in counts:
        counts["containers"] = max(known, 1)
    return counts


def _counted_as(item: Item) -> str | None:
    if item.type in _UNBILLED:
        return None
    if item.type != "web_search_call":
        return _CALLS.get(item.type or "", f"output.{item.type}")
    done = item.status in {None, "completed"} and (item.action is None or item.action.type not in _LOOKED)
    return "web_search_calls" if done else None


def _tool_usage(usage: Mapping[str, Usage | None]) -> Mapping[str, int]:
    """OpenAI's own words on its tools, beside the usage: they count searches; another tool that has amounts was used."""
    searches = (usage.get("web_search") or {}).get("num_requests")
    counts: Usage = {} if searches is None else {"web_search_calls": searches}
    others = {name: uses for name, uses in usage.items() if name != "web_search" and _has_amounts(uses)}
    return counts | {f"tool_usage.{name}": 1 for name in others}


def _has_amounts(uses: object) -> bool:
    return any(map(_has_amounts, cast("Usage", uses).values())) if isinstance(uses, dict) else bool(uses)


DIALECTS = Dialects(
    provider="openai",
    speaks=(CHAT, IMAGES, IMAGES_BY_DETAILS, RESPONSES),
    body={"output": list[Item], "tool_usage": dict[str, dict[str, Any] | None] | None},
    beside={"output": _items, "tool_usage": _tool_usage},
    free=("/moderations", "omni-moderation", "text-moderation"),
    per_answer={"gpt-.*-search-": "num_search_queries"},
    kinds={"gpt-(.*-)?audio": ("completion_tokens", "completion_tokens_details")},
    images=("gpt-image", "chatgpt-image", "dall-e"),
)
"""Every provider without a declaration of its own is read so, but nothing of it is free."""
