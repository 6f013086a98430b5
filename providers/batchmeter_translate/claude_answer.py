"""An Anthropic message -> an OpenAI chat completion."""

import json

from .shape import Json, mapping, objects, present
from .usage import claude_usage

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def claude_completion(message: Json, model: str) -> Json:
    blocks = objects(message.get("content"))
    reason = str(message.get("stop_reason") or "end_turn")
    return {
        "id": f"chatcmpl-{message.get('id') or 'claude'}",
        "object": "chat.completion",
        "created": 0,
        "model": str(message.get("model") or model),
        "choices": [
            {
                "index": 0,
                "message": _message(blocks),
                "logprobs": None,
                "finish_reason": FINISH.get(reason, "stop"),
                "native_finish_reason": reason,
            }
        ],
        "usage": claude_usage(mapping(message.get("usage"))),
    }


def _message(blocks: list[Json]) -> Json:
    texts = [str(block.get("text") or "") for block in blocks if block.get("type") == "text"]
    thoughts = [str(block.get("thinking") or "") for block in blocks if block.get("type") == "thinking"]
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    return {
        "role": "assistant",
        "content": "".join(texts) if texts else None,
        "refusal": None,
        **present(reasoning_content="".join(thoughts) if thoughts else None, tool_calls=calls or None),
    }


def _call(block: Json) -> Json:
    arguments = json.dumps(mapping(block.get("input")), ensure_ascii=False)
    return {
        "id": str(block.get("id")),
        "type": "function",
        "function": {"name": block.get("name"), "arguments": arguments},
    }
