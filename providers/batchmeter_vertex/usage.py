"""Token counters in OpenAI's names: Gemini's thoughts and tool prompts are beside its sums, Anthropic's cache too."""

from .shape import Json, mapping, objects, whole


def gemini_usage(meta: Json) -> Json:
    """`usageMetadata` -> chat usage; a counter that is missing means 0, a total that is missing is the sum."""
    prompt = whole(meta.get("promptTokenCount")) + whole(meta.get("toolUsePromptTokenCount"))
    thoughts = whole(meta.get("thoughtsTokenCount"))
    completion = whole(meta.get("candidatesTokenCount")) + thoughts
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": whole(meta.get("totalTokenCount")) or prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": whole(meta.get("cachedContentTokenCount")),
            "audio_tokens": _of(meta, "promptTokensDetails", "AUDIO"),
            "image_tokens": _of(meta, "promptTokensDetails", "IMAGE"),
        },
        "completion_tokens_details": {
            "reasoning_tokens": thoughts,
            "audio_tokens": _of(meta, "candidatesTokensDetails", "AUDIO"),
            "image_tokens": _of(meta, "candidatesTokensDetails", "IMAGE"),
        },
    }


def embedding_usage(metas: list[Json]) -> Json:
    prompt = sum(whole(meta.get("promptTokenCount") or meta.get("tokenCount")) for meta in metas)
    return {"prompt_tokens": prompt, "total_tokens": prompt}


def claude_usage(usage: Json) -> Json:
    """Anthropic's cache counters are beside `input_tokens`; thinking is inside `output_tokens`."""
    cached, written = whole(usage.get("cache_read_input_tokens")), whole(usage.get("cache_creation_input_tokens"))
    prompt = whole(usage.get("input_tokens")) + cached + written
    completion = whole(usage.get("output_tokens"))
    thinking = whole(mapping(usage.get("output_tokens_details")).get("thinking_tokens"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }


def _of(meta: Json, details: str, modality: str) -> int:
    return sum(
        whole(detail.get("tokenCount")) for detail in objects(meta.get(details)) if detail.get("modality") == modality
    )
