"""Token counters in OpenAI's names: Gemini's thoughts and tool prompts are beside its sums, Anthropic's cache too.

Whatever decides the bill is carried over, in names that OpenAI or compatibles use for it, so that a translated line
costs what its row does. Usage that a row does not have is null, never zero.
"""

from .shape import Json, is_array, mapping, objects, present, whole


def gemini_usage(meta: Json, candidates: object = None) -> Json | None:
    """`usageMetadata` -> chat usage; a counter that is missing means 0, a total that is missing is the sum."""
    if not _counts_prompt(meta):
        return None
    prompt = _prompt(meta) + whole(meta.get("toolUsePromptTokenCount"))
    thoughts = whole(meta.get("thoughtsTokenCount"))
    completion = whole(meta.get("candidatesTokenCount")) + thoughts
    cached_audio = _of(meta, "cacheTokensDetails", "AUDIO")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": whole(meta.get("totalTokenCount")) or prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": whole(meta.get("cachedContentTokenCount")),
            "audio_tokens": _of(meta, "promptTokensDetails", "AUDIO"),
            "image_tokens": _of(meta, "promptTokensDetails", "IMAGE"),
            **present(cached_tokens_details={"audio_tokens": cached_audio} if cached_audio else None),
        },
        "completion_tokens_details": {
            "reasoning_tokens": thoughts,
            "audio_tokens": _of(meta, "candidatesTokensDetails", "AUDIO"),
            "image_tokens": _of(meta, "candidatesTokensDetails", "IMAGE"),
        },
        **present(num_search_queries=_searches(candidates) or None),
    }


def embedding_usage(metas: list[Json]) -> Json | None:
    """Of one request's rows; null when one of them counts nothing."""
    if not all(map(_counts_prompt, metas)):
        return None
    prompt = sum(map(_prompt, metas))
    return {"prompt_tokens": prompt, "total_tokens": prompt}


def claude_usage(usage: Json) -> Json | None:
    """Anthropic's cache counters are beside `input_tokens`; thinking is inside `output_tokens`."""
    if usage.get("input_tokens") is None:
        return None
    cached, (written, for_an_hour) = whole(usage.get("cache_read_input_tokens")), _written(usage)
    prompt = whole(usage.get("input_tokens")) + cached + written
    completion = whole(usage.get("output_tokens"))
    thinking = whole(mapping(usage.get("output_tokens_details")).get("thinking_tokens"))
    searches = whole(mapping(usage.get("server_tool_use")).get("web_search_requests"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": written,
            **present(cache_write_tokens_details={"ttl_1h_tokens": for_an_hour} if for_an_hour else None),
        },
        "completion_tokens_details": {"reasoning_tokens": thinking},
        **present(num_search_queries=searches or None),
    }


def _counts_prompt(meta: Json) -> bool:
    return meta.get("promptTokenCount") is not None or meta.get("tokenCount") is not None


def _prompt(meta: Json) -> int:
    return whole(meta["tokenCount"] if meta.get("promptTokenCount") is None else meta["promptTokenCount"])


def _written(usage: Json) -> tuple[int, int]:
    """Tokens written to the cache, and those of them that stay an hour, which cost more."""
    split = mapping(usage.get("cache_creation"))
    for_an_hour = whole(split.get("ephemeral_1h_input_tokens"))
    written = usage.get("cache_creation_input_tokens")
    return whole(split.get("ephemeral_5m_input_tokens")) + for_an_hour if written is None else whole(
        written
    ), for_an_hour


def _searches(candidates: object) -> int:
    """Google searches that the answer was grounded on: billed each."""
    queries = [mapping(found.get("groundingMetadata")).get("webSearchQueries") for found in objects(candidates)]
    return sum(len(asked) if is_array(asked) else bool(asked) for asked in queries)


def _of(meta: Json, details: str, modality: str) -> int:
    return sum(
        whole(detail.get("tokenCount")) for detail in objects(meta.get(details)) if detail.get("modality") == modality
    )
