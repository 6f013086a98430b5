"""How each vendor counts tokens: one table row a dialect, from its own counters to our disjoint buckets.

A formula is counters joined by ` + ` and ` - `. A counter is a dotted path into the usage object; `a|b` takes the first
that is there, `list[].x` sums over a list, `list[modality=AUDIO].x` over its matching items. What is absent or null
counts 0. No bucket may come out negative: then the counters contradict each other and the line's usage is invalid.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """One vendor's way of counting."""

    name: str
    needs: str
    """The counter without which there is no usage to speak of."""
    prompt: str
    """The whole prompt, cached and written tokens included: it decides the price tier."""
    buckets: Mapping[str, str]
    """Bucket -> formula; `output` last, where there is any."""
    reasoning: str = ""
    """Already inside `output`."""
    total: str = ""
    """The vendor's own sum, where it is one."""
    check: str = ""
    """One more formula that must not come out negative."""
    places: bool = False
    """`inference_geo` and `service_tier` on a line count: where it ran, and `standard` for billed outside the batch.
    (OpenAI's `service_tier` means nothing of the kind; on Bedrock, AWS bills by the job whatever the row says.)"""


_LONG_WRITE = (
    "prompt_tokens_details.cache_write_tokens_details.ttl_12h_tokens"
    "|prompt_tokens_details.cache_write_tokens_details.ttl_1h_tokens"
)
"""OpenAI's, and Anthropic's in our translation of it."""
_CACHED_AUDIO = "prompt_tokens_details.cached_tokens_details.audio_tokens"
_CHAT = {
    "input": "prompt_tokens - prompt_tokens_details.cached_tokens - prompt_tokens_details.cache_write_tokens"
    f" - prompt_tokens_details.audio_tokens + {_CACHED_AUDIO}",
    "cached_input": f"prompt_tokens_details.cached_tokens - {_CACHED_AUDIO}",
    "cache_write_5m": f"prompt_tokens_details.cache_write_tokens - {_LONG_WRITE}",
    "cache_write_1h": _LONG_WRITE,
    "audio_in": f"prompt_tokens_details.audio_tokens - {_CACHED_AUDIO}",
    "cached_audio_in": _CACHED_AUDIO,
    "audio_out": "completion_tokens_details.audio_tokens",
    "image_out": "completion_tokens_details.image_tokens",
    "web_search": "num_sources_used + num_search_queries",
    "output": "completion_tokens - completion_tokens_details.audio_tokens - completion_tokens_details.image_tokens",
}
_REASONED = "completion_tokens_details.reasoning_tokens|reasoning_tokens"

CHAT = Dialect(
    "chat",
    needs="prompt_tokens",
    prompt="prompt_tokens",
    buckets=_CHAT,
    reasoning=_REASONED,
    total="total_tokens",
)
"""OpenAI chat, completions and embeddings, Azure, Mistral, Groq and most compatibles: details are inside their sums.
xAI counts live-search sources and Perplexity its searches beside them; both are billed each. Which of the cached tokens
are audio, OpenAI says in its Realtime usage, and our translation of Vertex AI's answers in the same place."""

CHAT_REASONING_OUTSIDE = replace(
    CHAT,
    name="chat_reasoning_outside",
    buckets=_CHAT | {"output": f"{_CHAT['output']} + {_REASONED}"},
)
"""xAI: reasoning is beside completion_tokens, and is billed as output."""

RESPONSES = Dialect(
    "responses",
    needs="input_tokens",
    prompt="input_tokens",
    buckets={
        "input": "input_tokens - input_tokens_details.cached_tokens - input_tokens_details.cache_write_tokens"
        " - input_tokens_details.audio_tokens",
        "cached_input": "input_tokens_details.cached_tokens",
        "cache_write_5m": "input_tokens_details.cache_write_tokens"
        " - input_tokens_details.cache_write_tokens_details.ttl_12h_tokens",
        "cache_write_1h": "input_tokens_details.cache_write_tokens_details.ttl_12h_tokens",
        "audio_in": "input_tokens_details.audio_tokens",
        "audio_out": "output_tokens_details.audio_tokens",
        "web_search": "web_search_calls",
        "file_search": "file_search_calls",
        "container": "containers",
        "image_generation": "image_generation_calls",
        "output": "output_tokens - output_tokens_details.audio_tokens",
    },
    reasoning="output_tokens_details.reasoning_tokens",
    total="total_tokens",
)

IMAGES = Dialect(
    "images",
    needs="input_tokens",
    prompt="input_tokens",
    buckets={
        "input": "input_tokens - input_tokens_details.image_tokens - input_tokens_details.cached_tokens",
        "cached_input": "input_tokens_details.cached_tokens",
        "image_in": "input_tokens_details.image_tokens",
        "output": "output_tokens_details.text_tokens",
        "image_out": "output_tokens - output_tokens_details.text_tokens",
    },
    total="total_tokens",
)
"""OpenAI image generations and edits: output is image tokens unless the details say text."""

_ANTHROPIC = {
    "input": "input_tokens",
    "cached_input": "cache_read_input_tokens",
    "cache_write_5m": "cache_creation_input_tokens - cache_creation.ephemeral_1h_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
    "web_search": "server_tool_use.web_search_requests",
    "output": "output_tokens",
}

ANTHROPIC = Dialect(
    "anthropic",
    needs="input_tokens",
    prompt="input_tokens + cache_read_input_tokens + cache_creation_input_tokens",
    buckets=_ANTHROPIC,
    reasoning="output_tokens_details.thinking_tokens",
    check="cache_creation_input_tokens - cache_creation.ephemeral_5m_input_tokens"
    " - cache_creation.ephemeral_1h_input_tokens",
    places=True,
)
"""The cache counters are beside input_tokens; cache_creation splits cache_creation_input_tokens by lifetime."""

ANTHROPIC_SPLIT_ONLY = replace(
    ANTHROPIC,
    name="anthropic_split_only",
    prompt="input_tokens + cache_read_input_tokens + cache_creation.ephemeral_5m_input_tokens"
    " + cache_creation.ephemeral_1h_input_tokens",
    buckets=_ANTHROPIC | {"cache_write_5m": "cache_creation.ephemeral_5m_input_tokens"},
    check="",
)
"""The same without cache_creation_input_tokens."""

GEMINI = Dialect(
    "gemini",
    needs="promptTokenCount|tokenCount",
    prompt="promptTokenCount|tokenCount + toolUsePromptTokenCount",
    buckets={
        "input": "promptTokenCount|tokenCount + toolUsePromptTokenCount - cachedContentTokenCount"
        " - promptTokensDetails[modality=AUDIO].tokenCount + cacheTokensDetails[modality=AUDIO].tokenCount",
        "cached_input": "cachedContentTokenCount - cacheTokensDetails[modality=AUDIO].tokenCount",
        "audio_in": "promptTokensDetails[modality=AUDIO].tokenCount - cacheTokensDetails[modality=AUDIO].tokenCount",
        "cached_audio_in": "cacheTokensDetails[modality=AUDIO].tokenCount",
        "audio_out": "candidatesTokensDetails[modality=AUDIO].tokenCount",
        "image_out": "candidatesTokensDetails[modality=IMAGE].tokenCount",
        "web_search": "web_search_calls",
        "output": "candidatesTokenCount + thoughtsTokenCount - candidatesTokensDetails[modality=AUDIO].tokenCount"
        " - candidatesTokensDetails[modality=IMAGE].tokenCount",
    },
    reasoning="thoughtsTokenCount",
    total="totalTokenCount",
)
"""Vertex AI and the Gemini API: cached is inside the prompt, thoughts and tool prompts are beside. Google prices image,
video and document input as text, so only audio input is told apart."""

CONVERSE = Dialect(
    "converse",
    needs="inputTokens",
    prompt="inputTokens + cacheReadInputTokens|cacheReadInputTokenCount"
    " + cacheWriteInputTokens|cacheWriteInputTokenCount",
    buckets={
        "input": "inputTokens",
        "cached_input": "cacheReadInputTokens|cacheReadInputTokenCount",
        "cache_write_5m": "cacheWriteInputTokens|cacheWriteInputTokenCount - cacheDetails[ttl=1h].inputTokens",
        "cache_write_1h": "cacheDetails[ttl=1h].inputTokens",
        "output": "outputTokens",
    },
)
"""Bedrock Converse and Amazon Nova: cache counters are beside inputTokens."""

TITAN = Dialect(
    "titan",
    needs="inputTextTokenCount",
    prompt="inputTextTokenCount",
    buckets={"input": "inputTextTokenCount", "output": "results[].tokenCount"},
)
"""Amazon Titan text and embeddings."""

LLAMA = Dialect(
    "llama",
    needs="prompt_token_count",
    prompt="prompt_token_count",
    buckets={"input": "prompt_token_count", "output": "generation_token_count"},
)
"""Meta Llama on Bedrock."""

PREDICTIONS = Dialect(
    "predictions",
    needs="predictions",
    prompt="predictions[].embeddings.statistics.token_count",
    buckets={"input": "predictions[].embeddings.statistics.token_count"},
)
"""Vertex AI's older text embeddings."""

MANIFEST = Dialect(
    "manifest",
    needs="inputTokenCount",
    prompt="inputTokenCount",
    buckets={"input": "inputTokenCount", "output": "outputTokenCount"},
)
"""The sums of a Bedrock job, for models whose rows carry none."""

NATIVE = (GEMINI, CONVERSE, TITAN, LLAMA, PREDICTIONS, CHAT, ANTHROPIC)
"""A vendor's own rows: told apart by the counter each needs."""
