"""Writes tests/data/vertex/oracle.json: what LiteLLM's converter makes of a table of OpenAI requests.

Run it where LiteLLM is installed, never in the project's own environment:
    LITELLM_LOCAL_MODEL_COST_MAP=True .cache/litellm/bin/python tests/vertex/make_oracle.py
"""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "data" / "vertex" / "oracle.json"
HI = [{"role": "user", "content": "hi"}]
PNG = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/City"}, "note": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"City": {"type": "string", "description": "a city"}},
}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
CALL2 = {"id": "2", "type": "function", "function": {"name": "time", "arguments": '{"zone": "CET"}'}}

REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {"messages": HI},
    "system": {"messages": [{"role": "system", "content": "be kind"}, *HI]},
    "two systems": {"messages": [{"role": "system", "content": "a"}, {"role": "system", "content": "b"}, *HI]},
    "turns": {"messages": [*HI, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "and?"}]},
    "merged": {"messages": [*HI, {"role": "user", "content": "there"}]},
    "assistant first": {"messages": [{"role": "assistant", "content": "hello"}, *HI]},
    "image data": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]},
    "image gs": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "gs://b/a.jpeg"}}]}]
    },
    "text and image": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": PNG}}],
            }
        ]
    },
    "audio": {
        "messages": [
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]}
        ]
    },
    "file": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg=="}}],
            }
        ]
    },
    "file gs": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "file", "file": {"file_id": "gs://b/a.pdf", "format": "application/pdf"}}],
            }
        ]
    },
    "tool calls": {
        "messages": [
            *HI,
            {"role": "assistant", "content": None, "tool_calls": [CALL, CALL2]},
            {"role": "tool", "tool_call_id": "1", "content": '{"sky": "blue"}'},
            {"role": "tool", "tool_call_id": "2", "content": '{"hour": 9}'},
        ]
    },
    "tools": {"messages": HI, "tools": [TOOL]},
    "tool auto": {"messages": HI, "tools": [TOOL], "tool_choice": "auto"},
    "tool required": {"messages": HI, "tools": [TOOL], "tool_choice": "required"},
    "tool none": {"messages": HI, "tools": [TOOL], "tool_choice": "none"},
    "tool named": {
        "messages": HI,
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    },
    "numbers": {"messages": HI, "temperature": 0.5, "top_p": 0.9, "max_tokens": 9, "seed": 7},
    "max_completion_tokens": {"messages": HI, "max_completion_tokens": 9},
    "penalties": {"messages": HI, "presence_penalty": 0.5, "frequency_penalty": -0.5},
    "stop": {"messages": HI, "stop": "END"},
    "stops": {"messages": HI, "stop": ["a", "b"]},
    "n": {"messages": HI, "n": 2},
    "logprobs": {"messages": HI, "logprobs": True, "top_logprobs": 2},
    "json object": {"messages": HI, "response_format": {"type": "json_object"}},
    "modalities": {"messages": HI, "modalities": ["text", "image"]},
    "effort low": {"messages": HI, "reasoning_effort": "low"},
    "effort high": {"messages": HI, "reasoning_effort": "high"},
    "effort none": {"messages": HI, "reasoning_effort": "none"},
}


def converted(body: dict[str, Any], model: str) -> Any:
    from litellm.llms.vertex_ai.gemini.transformation import _transform_request_body  # type: ignore[import-not-found]
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import (  # type: ignore[import-not-found]
        VertexGeminiConfig,
    )

    given = json.loads(json.dumps(body))
    messages = given.pop("messages")
    optional = VertexGeminiConfig().map_openai_params(
        non_default_params=given, optional_params={}, model=model, drop_params=False
    )
    return _transform_request_body(
        messages=messages,
        model=model,
        optional_params=optional,
        custom_llm_provider="vertex_ai",
        litellm_params={},
        cached_content=None,
    )


if __name__ == "__main__":
    model = "gemini-2.5-flash"
    made = {name: {"openai": body, "gemini": converted(body, model)} for name, body in REQUESTS.items()}
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    version = importlib.metadata.version("litellm")
    TARGET.write_text(json.dumps({"litellm": version, "model": model, "requests": made}, indent=1) + "\n")
