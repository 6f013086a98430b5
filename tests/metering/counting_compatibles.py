"""Compatibles: OpenAI's counters in other places, and other habits."""

from typing import Any

from . import lines_of

Json = dict[str, Any]
Row = tuple[tuple[Json, Json], Json, int]
"""(line, job), the buckets it must count, reasoning."""


def chat(usage: Json, provider: str = "openai", **job: Any) -> tuple[Json, Json]:
    return lines_of.openai("m", usage), {"provider": provider, **job}


COMPATIBLES: dict[str, Row] = {
    "vertex in OpenAI's shape": (
        chat({"prompt_tokens": 10, "completion_tokens": 5}, "vertex_ai"),
        {"input": 10, "output": 5},
        0,
    ),
    "open model on vertex": (
        (
            {
                "status": "",
                "request": {},
                "response": lines_of.openai("m", {"completion_tokens": 0, "prompt_tokens": 4})["response"]["body"],
            },
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
    "xai, live search": (
        (
            lines_of.xai(
                "grok-4",
                {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "num_sources_used": 3},
            ),
            {"provider": "xai"},
        ),
        {"input": 10, "output": 5, "web_search": 3},
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
    "floats and strings": (
        chat({"prompt_tokens": "11", "completion_tokens": 4.0, "total_tokens": "15"}),
        {"input": 11, "output": 4},
        0,
    ),
    "body as a string": (
        (
            {
                "custom_id": "a",
                "response": {"status_code": 200, "body": '{"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}'},
                "error": None,
            },
            {},
        ),
        {"input": 3},
        0,
    ),
}
