"""A Bedrock Converse answer, or Amazon Nova's own -> an OpenAI chat completion."""

import json

from .shape import Json, mapping, objects, present
from .usage import converse_usage

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "stop",
    "malformed_tool_use": "stop",
}


def converse_completion(answer: Json, model: str, record: str) -> Json:
    """`record`: for the completion's id, as the answer has none."""
    blocks = objects(mapping(mapping(answer.get("output")).get("message")).get("content"))
    reason = str(answer.get("stopReason") or "end_turn")
    choice = {
        "index": 0,
        "message": _message(blocks),
        "logprobs": None,
        "finish_reason": FINISH.get(reason, "stop"),
        "native_finish_reason": reason,
    }
    return {
        "id": f"chatcmpl-{record}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": converse_usage(mapping(answer.get("usage"))),
    }


def _message(blocks: list[Json]) -> Json:
    texts = [str(block["text"]) for block in blocks if isinstance(block.get("text"), str)]
    cited = [str(part.get("text") or "") for block in blocks for part in _cited(block)]
    thoughts = [str(_thought(block)) for block in blocks if _thought(block)]
    calls = [_call(mapping(block["toolUse"])) for block in blocks if mapping(block.get("toolUse"))]
    return {
        "role": "assistant",
        "content": "".join(texts + cited) if texts or cited else None,
        "refusal": None,
        **present(reasoning_content="".join(thoughts) if thoughts else None, tool_calls=calls or None),
    }


def _cited(block: Json) -> list[Json]:
    return objects(mapping(block.get("citationsContent")).get("content"))


def _thought(block: Json) -> object:
    return mapping(mapping(block.get("reasoningContent")).get("reasoningText")).get("text")


def _call(use: Json) -> Json:
    arguments = json.dumps(mapping(use.get("input")), ensure_ascii=False)
    function = {"name": use.get("name"), "arguments": arguments}
    return {"id": str(use.get("toolUseId")), "type": "function", "function": function}
