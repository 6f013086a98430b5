"""Token counters in OpenAI's names: Gemini's thoughts and tool prompts are beside its sums, Anthropic's cache too.

Whatever decides the bill is carried over, in names that OpenAI or compatibles use for it, so that a translated line
costs what its row does. Usage that a row does not have is null, never zero.
"""

from batchmeter_dialects.google import OUTPUTS, asked_search, grounded

from .shape import Json, mapping, objects, present, whole

_TOOLS = {
    "web_searches": "num_search_queries",
    "maps_queries": "num_maps_queries",
    "data_searches": "num_file_searches",
}


def gemini_usage(
    meta: Json, candidates: object = None, model: str | None = None, *, vertex: bool = False
) -> Json | None:
    """`usageMetadata` -> chat usage; a total that is missing is the sum. Null where nothing tells the output of candidates."""
    if not _counts_prompt(meta) or (candidates and not OUTPUTS & meta.keys()):
        return None
    groundings = [mapping(found.get("groundingMetadata")) for found in objects(candidates)]
    uses = grounded(groundings, model, vertex=vertex)
    tools = {
        _TOOLS.get(name, name): count for name, count in uses.items()
    }  # compatibles' counters, or what nobody knows
    thoughts, cached = whole(meta.get("thoughtsTokenCount")), _cached(meta)
    prompt, completion = _sums(meta, thoughts, cached, searched=asked_search(groundings))
    cached_audio = _of(meta, "cacheTokensDetails", "AUDIO")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": whole(meta.get("totalTokenCount")) or prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "audio_tokens": _of(meta, "promptTokensDetails", "AUDIO"),
            "image_tokens": _of(meta, "promptTokensDetails", "IMAGE"),
            **present(cached_tokens_details={"audio_tokens": cached_audio} if cached_audio else None),
        },
        "completion_tokens_details": {
            "reasoning_tokens": thoughts,
            "audio_tokens": _of(meta, "candidatesTokensDetails", "AUDIO"),
            "image_tokens": _of(meta, "candidatesTokensDetails", "IMAGE"),
            **present(video_tokens=_of(meta, "candidatesTokensDetails", "VIDEO") or None),
        },
        **tools,
    }


def _sums(meta: Json, thoughts: int, cached: int, *, searched: bool) -> tuple[int, int]:
    """Prompt and completion, as the row's own total says: thoughts may be inside, cached tokens beside.

    Tool prompts of a row that asked Google Search are free, and outside its total.
    """
    total, tool = whole(meta.get("totalTokenCount")), whole(meta.get("toolUsePromptTokenCount"))
    prompt, answer = _prompt(meta), whole(meta.get("candidatesTokenCount"))
    usual = (prompt, answer + thoughts) if searched else (prompt + tool, answer + thoughts)
    readings = [(usual[0], answer), (usual[0] + cached, usual[1])]
    if searched:
        readings.append((prompt + tool, usual[1]))
    fitting = [reading for reading in dict.fromkeys(readings) if sum(reading) == total]
    return fitting[0] if total and sum(usual) != total and len(fitting) == 1 else usual


def embedding_usage(metas: list[Json]) -> Json | None:
    """The sum of one request's rows; null when one of them counts nothing."""
    if not all(map(_counts_prompt, metas)):
        return None
    prompt = sum(map(_prompt, metas))
    return {"prompt_tokens": prompt, "total_tokens": prompt}


def claude_usage(usage: Json) -> Json | None:
    """Anthropic's cache counters are beside `input_tokens`; thinking is inside `output_tokens`."""
    if usage.get("input_tokens") is None or usage.get("output_tokens") is None:
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


def converse_usage(usage: Json) -> Json | None:
    """Bedrock's cache counters are beside `inputTokens`, under two names."""
    if usage.get("inputTokens") is None or usage.get("outputTokens") is None:
        return None
    cached, written = (
        whole(usage.get(f"{kind}InputTokens") or usage.get(f"{kind}InputTokenCount"))
        for kind in ("cacheRead", "cacheWrite")
    )
    details = objects(usage.get("cacheDetails"))
    for_an_hour = sum(whole(detail.get("inputTokens")) for detail in details if detail.get("ttl") == "1h")
    prompt, completion = whole(usage.get("inputTokens")) + cached + written, whole(usage.get("outputTokens"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": written,
            **present(cache_write_tokens_details={"ttl_1h_tokens": for_an_hour} if for_an_hour else None),
        },
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


def _cached(meta: Json) -> int:
    cached = meta.get("cachedContentTokenCount")
    details = objects(meta.get("cacheTokensDetails"))
    return sum(whole(detail.get("tokenCount")) for detail in details) if cached is None else whole(cached)


def _of(meta: Json, details: str, modality: str) -> int:
    return sum(
        whole(detail.get("tokenCount")) for detail in objects(meta.get(details)) if detail.get("modality") == modality
    )
