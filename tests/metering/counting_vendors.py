"""Vendors with counters of their own: usage as it is sent, and what it counts as."""

from typing import Any

from . import lines_of

Json = dict[str, Any]
Row = tuple[tuple[Json, Json], Json, int]
"""(line, job), the buckets it must count, reasoning."""


def bedrock(output: Json) -> tuple[Json, Json]:
    return lines_of.bedrock(output), {"provider": "bedrock", "model": "m"}


def gemini(usage: Json, provider: str = "vertex_ai") -> tuple[Json, Json]:
    return lines_of.gemini("m", usage), {"provider": provider}


VENDORS: dict[str, Row] = {
    "anthropic": (
        (
            lines_of.anthropic(
                "m",
                {
                    "input_tokens": 10,
                    "cache_creation_input_tokens": 50,
                    "cache_read_input_tokens": 30,
                    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
                    "output_tokens": 9,
                    "output_tokens_details": {"thinking_tokens": 4},
                    "server_tool_use": {"web_search_requests": 3},
                },
            ),
            {"provider": "anthropic"},
        ),
        {
            "input": 10,
            "cached_input": 30,
            "cache_write_5m": 20,
            "cache_write_1h": 30,
            "output": 9,
            "web_search": 3,
        },
        4,
    ),
    "anthropic, unsplit write": (
        (
            lines_of.anthropic(
                "m", {"input_tokens": 1, "cache_creation_input_tokens": 50, "cache_creation": None, "output_tokens": 2}
            ),
            {"provider": "anthropic"},
        ),
        {"input": 1, "cache_write_5m": 50, "output": 2},
        0,
    ),
    "anthropic, only the split": (
        (
            lines_of.anthropic(
                "m",
                {
                    "input_tokens": 1,
                    "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 8},
                    "output_tokens": 2,
                },
            ),
            {"provider": "anthropic"},
        ),
        {"input": 1, "cache_write_5m": 7, "cache_write_1h": 8, "output": 2},
        0,
    ),
    "claude on vertex": (
        (
            lines_of.claude_on_vertex("m", {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 2}),
            {"provider": "vertex_ai"},
        ),
        {"input": 10, "cached_input": 5, "output": 2},
        0,
    ),
    "gemini": (
        gemini({"promptTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": 30, "totalTokenCount": 150}),
        {"input": 100, "output": 50},
        30,
    ),
    "gemini, cached audio, images and tools": (
        gemini(
            {
                "promptTokenCount": 1000,
                "cachedContentTokenCount": 400,
                "toolUsePromptTokenCount": 50,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 500},
                    {"modality": "AUDIO", "tokenCount": 300},
                    {"modality": "IMAGE", "tokenCount": 200},
                ],
                "cacheTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 300},
                    {"modality": "AUDIO", "tokenCount": 100},
                ],
                "candidatesTokenCount": 90,
                "candidatesTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 10},
                    {"modality": "IMAGE", "tokenCount": 80},
                ],
            },
            "gemini",
        ),
        {
            "input": 450,
            "cached_input": 300,
            "audio_in": 200,
            "cached_audio_in": 100,
            "output": 10,
            "image_out": 80,
        },
        0,
    ),
    "gemini, a search that found nothing": (
        (
            lines_of.gemini(
                "gemini-2.5-flash",
                {
                    "promptTokenCount": 14,
                    "thoughtsTokenCount": 1416,
                    "toolUsePromptTokenCount": 35,
                    "totalTokenCount": 1430,
                },
                candidates=[{"content": {"parts": []}, "groundingMetadata": {"webSearchQueries": ["tides"]}}],
            ),
            {"provider": "vertex_ai"},
        ),
        {"input": 14, "output": 1416},
        1416,
    ),
    "gemini, grounded on searches": (
        (
            lines_of.gemini(
                "m",
                {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120},
                candidates=[
                    {
                        "content": {"parts": [{"text": 'it said "webSearchQueries": ["x"]'}]},
                        "groundingMetadata": {"webSearchQueries": ["tides", "moon"]},
                    },
                    {"content": {"parts": []}},
                ],
            ),
            {"provider": "vertex_ai"},
        ),
        {"input": 100, "output": 20, "web_search": 2},
        0,
    ),
    "gemini embeddings": (
        (
            {"key": "r", "request": {}, "response": {"embedding": {"values": [0.5]}, "tokenCount": "7"}},
            {"provider": "vertex_ai", "model": "gemini-embedding-001"},
        ),
        {"input": 7},
        0,
    ),
    "vertex predictions": (
        (
            {
                "instance": {"content": "x"},
                "status": "",
                "predictions": [
                    {"embeddings": {"values": [0.1], "statistics": {"truncated": False, "token_count": 6}}}
                ],
            },
            {"provider": "vertex_ai", "model": "text-embedding-005"},
        ),
        {"input": 6},
        0,
    ),
    "bedrock claude": (
        bedrock(lines_of.message("x", {"input_tokens": 9, "output_tokens": 4, "service_tier": "standard"})),
        {"input": 9, "output": 4},
        0,
    ),
    "bedrock converse": (
        bedrock(
            {
                "output": {"message": {"content": [{"text": "hi"}]}},
                "stopReason": "end_turn",
                "usage": {
                    "inputTokens": 10,
                    "outputTokens": 4,
                    "totalTokens": 44,
                    "cacheReadInputTokens": 10,
                    "cacheWriteInputTokens": 20,
                    "cacheDetails": [{"ttl": "5m", "inputTokens": 15}, {"ttl": "1h", "inputTokens": 5}],
                },
            }
        ),
        {"input": 10, "cached_input": 10, "cache_write_5m": 15, "cache_write_1h": 5, "output": 4},
        0,
    ),
    "bedrock nova": (
        bedrock({"usage": {"inputTokens": 10, "outputTokens": 4, "cacheReadInputTokenCount": 3}}),
        {"input": 10, "cached_input": 3, "output": 4},
        0,
    ),
    "bedrock titan": (
        bedrock({"inputTextTokenCount": 5, "results": [{"tokenCount": 32, "outputText": "x"}, {"tokenCount": 8}]}),
        {"input": 5, "output": 40},
        0,
    ),
    "bedrock titan embeddings": (bedrock({"embedding": [0.1], "inputTextTokenCount": 5}), {"input": 5}, 0),
    "bedrock llama": (
        bedrock({"generation": "x", "prompt_token_count": 25, "generation_token_count": 6}),
        {"input": 25, "output": 6},
        0,
    ),
    "bedrock, OpenAI's counters": (
        bedrock({"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 1}}),
        {"input": 2, "output": 1},
        0,
    ),
}
