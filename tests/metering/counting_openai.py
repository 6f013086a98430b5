"""OpenAI's endpoints: usage as it is sent, and what it counts as."""

from typing import Any

from . import lines_of

Json = dict[str, Any]
Row = tuple[tuple[Json, Json], Json, int]
"""(line, job), the buckets it must count, reasoning."""


def chat(usage: Json, provider: str = "openai", **job: Any) -> tuple[Json, Json]:
    return lines_of.openai("m", usage), {"provider": provider, **job}


def responses(usage: Json, **body: Any) -> tuple[Json, Json]:
    return lines_of.openai("m", usage, object="response", **body), {}


OPENAI: dict[str, Row] = {
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
    "responses, web searches of which only some are billed": (
        responses(
            {"input_tokens": 9, "output_tokens": 1},
            output=[{"type": "web_search_call", "action": {"type": kind}} for kind in ("search", "open_page")],
            tool_usage={"web_search": {"num_requests": 1}, "image_gen": {"input_tokens": 0}},
        ),
        {"input": 9, "output": 1, "web_search": 1},
        0,
    ),
    "responses, other tools that are billed by themselves": (
        responses(
            {"input_tokens": 9, "output_tokens": 1},
            output=[
                {"type": "file_search_call", "queries": ["a", "b"]},
                {"type": "file_search_call"},
                {"type": "code_interpreter_call", "container_id": "c1"},
                {"type": "code_interpreter_call", "container_id": "c1"},
                {"type": "shell_call", "environment": {"type": "container_reference", "container_id": "c2"}},
                {"type": "image_generation_call", "result": "aGk="},
                {"type": "message", "content": []},
            ],
        ),
        {"input": 9, "output": 1, "file_search": 2, "container": 2, "image_generation": 1},
        0,
    ),
    "responses, a container that is not named": (
        responses({"input_tokens": 9, "output_tokens": 1}, output=[{"type": "code_interpreter_call"}] * 2),
        {"input": 9, "output": 1, "container": 1},
        0,
    ),
    "responses, tools that cost nothing but their tokens": (
        responses(
            {"input_tokens": 9, "output_tokens": 1},
            output=[
                {"type": "shell_call", "environment": {"type": "local"}},
                {"type": "function_call"},
                {"type": "mcp_call"},
                {"type": "local_shell_call"},
            ],
        ),
        {"input": 9, "output": 1},
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
}
