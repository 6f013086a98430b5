"""Each vendor's counters land in the right, disjoint buckets; contradictions are unknown, never negative, never zero."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from batchmeter.metering import meter
from batchmeter.metering.dialects import NATIVE, Dialect
from batchmeter.pricing.groups import BUCKETS, GroupKey

from . import lines_of
from .prices import FLAT

Json = dict[str, Any]


def groups(line: Json, **job: Any) -> dict[GroupKey, Any]:
    return dict(meter([lines_of.dump(line)], prices=FLAT, **job).groups)


def counts(line: Json, **job: Any) -> tuple[dict[str, int], int]:
    ((_, group),) = groups(line, **job).items()
    return group.counts, group.reasoning


def bedrock(output: Json) -> tuple[Json, Json]:
    return lines_of.bedrock(output), {"provider": "bedrock", "model": "m"}


def chat(usage: Json, provider: str = "openai", **job: Any) -> tuple[Json, Json]:
    return lines_of.openai("m", usage), {"provider": provider, **job}


def responses(usage: Json, **body: Any) -> tuple[Json, Json]:
    return lines_of.openai("m", usage, object="response", **body), {}


def gemini(usage: Json, provider: str = "vertex_ai") -> tuple[Json, Json]:
    return lines_of.gemini("m", usage), {"provider": provider}


TABLE: dict[str, tuple[tuple[Json, Json], Json, int]] = {
    "chat": (chat({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}), {"input": 10, "output": 5}, 0),
    "chat, null details": (
        chat({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": None, "x": None}),
        {"input": 10, "output": 5},
        0,
    ),
    "chat, everything": (
        chat(
            {
                "prompt_tokens": 100,
                "completion_tokens": 60,
                "total_tokens": 160,
                "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 20, "cache_write_tokens": 10},
                "completion_tokens_details": {
                    "reasoning_tokens": 40,
                    "audio_tokens": 7,
                    "accepted_prediction_tokens": 3,
                    "rejected_prediction_tokens": 2,
                },
            }
        ),
        {"input": 40, "cached_input": 30, "audio_in": 20, "cache_write_5m": 10, "output": 53, "audio_out": 7},
        40,
    ),
    "embeddings": (chat({"prompt_tokens": 8, "total_tokens": 8}), {"input": 8}, 0),
    "vLLM embeddings": (
        chat({"prompt_tokens": 8, "completion_tokens": 0, "total_tokens": 8}, "hosted_vllm"),
        {"input": 8},
        0,
    ),
    "responses": (
        responses(
            {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
                "output_tokens": 50,
                "output_tokens_details": {"reasoning_tokens": 20},
                "total_tokens": 150,
            }
        ),
        {"input": 30, "cached_input": 60, "cache_write_5m": 10, "output": 50},
        20,
    ),
    "responses, long-lived cache write": (
        responses(
            {
                "input_tokens": 100,
                "input_tokens_details": {
                    "cached_tokens": 0,
                    "cache_write_tokens": 90,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 50, "ttl_12h_tokens": 40},
                },
                "output_tokens": 1,
            }
        ),
        {"input": 10, "cache_write_5m": 50, "cache_write_1h": 40, "output": 1},
        0,
    ),
    "responses, web searches": (
        responses(
            {"input_tokens": 9, "output_tokens": 1},
            output=[{"type": "web_search_call"}, {"type": "message", "content": []}, {"type": "web_search_call"}],
        ),
        {"input": 9, "output": 1, "web_search": 2},
        0,
    ),
    "images": (
        (
            lines_of.openai(
                "gpt-image-1-mini",
                {
                    "input_tokens": 50,
                    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
                    "output_tokens": 4160,
                    "total_tokens": 4210,
                },
                object=None,
            ),
            {"endpoint": "/v1/images/generations"},
        ),
        {"input": 10, "image_in": 40, "image_out": 4160},
        0,
    ),
    "images without details": (
        (
            lines_of.openai("gpt-image-1", {"input_tokens": 5, "output_tokens": 100, "total_tokens": 105}, object=None),
            {},
        ),
        {"input": 5, "image_out": 100},
        0,
    ),
    "images with text out": (
        (
            lines_of.openai(
                "m",
                {
                    "input_tokens": 50,
                    "input_tokens_details": {"text_tokens": 50, "image_tokens": 0},
                    "output_tokens": 100,
                    "output_tokens_details": {"text_tokens": 30, "image_tokens": 70},
                },
                object=None,
            ),
            {},
        ),
        {"input": 50, "output": 30, "image_out": 70},
        0,
    ),
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
    "vertex in OpenAI's shape": (
        chat({"prompt_tokens": 10, "completion_tokens": 5}, "vertex_ai"),
        {"input": 10, "output": 5},
        0,
    ),
    "open model on vertex": (
        (
            {"status": "", "request": {}, "response": lines_of.openai("m", {"prompt_tokens": 4})["response"]["body"]},
            {"provider": "vertex_ai"},
        ),
        {"input": 4},
        0,
    ),
    "mistral": (
        chat(
            {
                "prompt_tokens": 50,
                "completion_tokens": 7,
                "total_tokens": 57,
                "prompt_tokens_details": {"cached_tokens": 40},
            },
            "mistral",
        ),
        {"input": 10, "cached_input": 40, "output": 7},
        0,
    ),
    "xai, reasoning beside": (
        (
            lines_of.xai(
                "grok",
                {
                    "prompt_tokens": 40,
                    "completion_tokens": 5,
                    "total_tokens": 57,
                    "completion_tokens_details": {"reasoning_tokens": 12},
                },
            ),
            {"provider": "xai"},
        ),
        {"input": 40, "output": 17},
        12,
    ),
    "xai, no total": (
        chat(
            {
                "prompt_tokens": 40,
                "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 12},
            },
            "xai",
        ),
        {"input": 40, "output": 17},
        12,
    ),
    "xai, reasoning inside by its own total": (
        chat(
            {
                "prompt_tokens": 40,
                "completion_tokens": 15,
                "total_tokens": 55,
                "completion_tokens_details": {"reasoning_tokens": 12},
            },
            "xai",
        ),
        {"input": 40, "output": 15},
        12,
    ),
    "a compatible that counts reasoning beside": (
        chat(
            {
                "prompt_tokens": 40,
                "completion_tokens": 15,
                "total_tokens": 67,
                "completion_tokens_details": {"reasoning_tokens": 12},
            },
            "somebody",
        ),
        {"input": 40, "output": 27},
        12,
    ),
    "together, reasoning on top": (
        chat({"prompt_tokens": 4, "completion_tokens": 15, "total_tokens": 19, "reasoning_tokens": 12}, "together"),
        {"input": 4, "output": 15},
        12,
    ),
    "fireworks, the answer itself": (
        (
            {
                "custom_id": "a",
                "response": lines_of.openai("m", {"prompt_tokens": 3, "completion_tokens": 2})["response"]["body"],
            },
            {"provider": "fireworks"},
        ),
        {"input": 3, "output": 2},
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
    "floats and strings": (
        chat({"prompt_tokens": "11", "completion_tokens": 4.0, "total_tokens": "15"}),
        {"input": 11, "output": 4},
        0,
    ),
    "body as a string": (
        (
            {
                "custom_id": "a",
                "response": {"status_code": 200, "body": '{"model":"m","usage":{"prompt_tokens":3}}'},
                "error": None,
            },
            {},
        ),
        {"input": 3},
        0,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_buckets(name: str):
    (line, job), expected, reasoning = TABLE[name]

    assert counts(line, **job) == (expected, reasoning)


INVALID: dict[str, tuple[Json, Json]] = {
    "cached over prompt": chat({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 11}}),
    "cached and audio over prompt": chat(
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 6, "audio_tokens": 6}}
    ),
    "negative": chat({"prompt_tokens": -10, "completion_tokens": 1}),
    "negative part": chat({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": -1}}),
    "fractional": chat({"prompt_tokens": 1.5}),
    "a word": chat({"prompt_tokens": "many"}),
    "infinite": chat({"prompt_tokens": "1e400"}),
    "true": chat({"prompt_tokens": True}),
    "a list": chat({"prompt_tokens": [1]}),
    "absurd": chat({"prompt_tokens": 2**70}),
    "reasoning over output": chat(
        {
            "prompt_tokens": 1,
            "completion_tokens": 5,
            "total_tokens": 6,
            "completion_tokens_details": {"reasoning_tokens": 6},
        }
    ),
    "split over write": (
        lines_of.anthropic(
            "m",
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 2},
                "output_tokens": 2,
            },
        ),
        {"provider": "anthropic"},
    ),
    "gemini cache over prompt": gemini({"promptTokenCount": 5, "cachedContentTokenCount": 6}),
}


@pytest.mark.parametrize("name", INVALID)
def test_contradictions_are_unknown(name: str):
    line, job = INVALID[name]

    metering = meter([lines_of.dump(line)], prices=FLAT, **job)

    assert metering.cost.total is None
    assert metering.cost.unknown == {"usage_invalid": 1}
    assert metering.lines.succeeded == metering.lines.unpriced == 1
    assert metering.usage.total_tokens == 0


def test_an_anthropic_success_without_a_message_is_unknown():
    line = {"custom_id": "a", "result": {"type": "succeeded"}}

    assert meter([lines_of.dump(line)], provider="anthropic", prices=FLAT).cost.unknown == {"usage_missing": 1}


def test_a_total_without_its_output_is_no_usage_to_price():
    usage = {"prompt_tokens": 10, "total_tokens": 500}

    assert meter([lines_of.dump(lines_of.openai("m", usage))], prices=FLAT).cost.unknown == {"usage_invalid": 1}


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": None}, {"total_tokens": 9}, {"completion_tokens": 4}, "none", []]
)
def test_missing_usage_is_unknown(usage: Any):
    metering = meter([lines_of.dump(lines_of.openai("m", usage))], prices=FLAT)

    assert metering.cost.total is None
    assert metering.cost.unknown == {"usage_missing": 1}
    assert metering.models["m"].cost is None


def test_the_vendors_total_is_a_check():
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 99}

    metering = meter([lines_of.dump(lines_of.openai("m", usage))], prices=FLAT)

    assert "usage_total_differs" in metering.notes
    assert metering.cost.total is not None


def test_geo_and_service_tier_count_where_anthropic_says_so():
    usage = {"input_tokens": 10, "output_tokens": 1, "inference_geo": "us", "service_tier": "standard"}

    (key,) = groups(lines_of.anthropic("m", usage), provider="anthropic")

    assert key == GroupKey("m", 0, "us", "standard")


@pytest.mark.parametrize("geo", ["global", "not_available", "", None, 3])
def test_no_particular_geo(geo: Any):
    usage = {"input_tokens": 10, "output_tokens": 1, "inference_geo": geo, "service_tier": "batch"}

    (key,) = groups(lines_of.anthropic("m", usage), provider="anthropic")

    assert key == GroupKey("m")


def test_openais_service_tier_selects_nothing():
    line = lines_of.openai("m", {"prompt_tokens": 1, "service_tier": "standard"}, service_tier="standard")

    assert list(groups(line)) == [GroupKey("m")]


@pytest.mark.parametrize(
    ("prompt", "over"), [(999, 0), (1_000, 0), (1_001, 1_000), (5_000, 1_000), (5_001, 5_000), (10**9, 5_000)]
)
def test_the_whole_prompt_decides_the_tier(prompt: int, over: int):
    usage = {"prompt_tokens": prompt, "prompt_tokens_details": {"cached_tokens": prompt}}

    assert [key.prompt_over for key in groups(lines_of.openai("m", usage))] == [over]


def test_anthropics_cached_tokens_count_for_the_tier():
    usage = {"input_tokens": 1, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 100, "output_tokens": 1}

    keys = list(groups(lines_of.anthropic("m", usage), provider="anthropic"))
    assert [(key.prompt_over, key.buckets) for key in keys] == [(1_000, ("cache_write_5m", "cached_input"))]


@pytest.mark.parametrize("dialect", NATIVE, ids=[dialect.name for dialect in NATIVE])
def test_tables_use_known_buckets_and_end_with_output(dialect: Dialect):
    names = list(dialect.buckets)

    assert set(names) <= set(BUCKETS)
    assert "output" not in names[:-1]


def test_a_line_that_uses_an_unpriced_bucket_leaves_the_others_priced() -> None:
    plain, audio = (
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": tokens}}
        for tokens in (0, 4)
    )
    lines = [lines_of.dump(lines_of.openai("gpt-4o-mini", usage)) for usage in (plain, audio, plain)]
    metering = meter([b"\n".join(line.strip() for line in lines)], priced_at=date(2026, 11, 10))
    assert (metering.lines.unpriced, metering.cost.total, metering.cost.unknown) == (1, None, {"missing_rate": 1})
    assert metering.cost.known == 2 * (10 * Decimal("0.075") + Decimal("0.3")) / 1_000_000
    assert metering.models["gpt-4o-mini"].cost is None
