"""The bodies of answers, in the exact shape of each endpoint."""

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, cast

from .snapshots import snapshot
from .structured import fitting
from .tokens import Dice, Tokens, inputs, spent, whole

_TEXT = (
    "The short answer is that it depends on how the work is split. A batch that is small enough to check by hand is "
    "worth checking by hand once, because the numbers it yields become the yardstick for everything after it. Larger "
    "ones are sampled: take the first, the last and a few from the middle, and compare what was asked with what came "
    "back. Where both agree the rest can be trusted; where they differ the difference itself is usually the finding. "
    "Costs follow the same pattern, since most of them sit in a handful of long prompts while the many short ones "
    "hardly matter. Keep the prompts that repeat at the front, so that they can be served from a cache, and put what "
    "changes at the end. Write down which model answered, on which day, and at which price, and the sum can be "
    "explained a year later to somebody who was not there. "
)
_DIMENSIONS = {"text-embedding-3-large": 3072}
_HARMS = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)

Body = Mapping[str, Any]
Shape = Callable[[Body, Tokens, Dice, int], dict[str, Any]]


def answer(endpoint: str, body: Body, dice: Dice, created: int) -> dict[str, Any]:
    """An answer that a model might have given, with the tokens that `spent` counts."""
    return _SHAPES[endpoint](body, spent(endpoint, body, dice), dice, created)


def without_usage(answered: dict[str, Any]) -> dict[str, Any]:
    return answered | {"usage": None} if "usage" in answered else answered


def with_usage(answered: dict[str, Any], factor: int) -> dict[str, Any]:
    """All its counters so many times as high."""
    if factor == 1 or "usage" not in answered:
        return answered
    return answered | {"usage": _times(answered["usage"], factor)}


def _times(usage: Mapping[str, Any], factor: int) -> dict[str, Any]:
    return {
        name: _times(cast("Mapping[str, Any]", value), factor) if isinstance(value, dict) else value * factor
        for name, value in usage.items()
    }


def _say(body: Body, tokens: Tokens, dice: Dice) -> str:
    """Text of as many tokens as are visible; empty where reasoning took all."""
    length = (tokens.output - tokens.reasoning) // whole(body, "n", 1, 128) * 4
    start = dice.below(4, len(_TEXT))
    text = (_TEXT[start:] + _TEXT * (1 + length // len(_TEXT)))[:length].strip()
    wanted = _format(body)
    if not str(wanted.get("type", "")).startswith("json"):
        return text
    schema = wanted.get("schema") or _mapping(wanted.get("json_schema")).get("schema")
    whole_answer = json.dumps(fitting(_mapping(schema), dice, text or _TEXT) if schema else {"answer": text})
    return whole_answer[: max(1, length)] if tokens.cut else whole_answer


def _format(body: Body) -> Body:
    """`response_format` of chat, `text.format` of responses."""
    return _mapping(body.get("response_format")) or _mapping(_mapping(body.get("text")).get("format"))


def _mapping(value: object) -> Body:
    return cast("Body", value) if isinstance(value, dict) else {}


def _usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _chat(body: Body, tokens: Tokens, dice: Dice, created: int) -> dict[str, Any]:
    text = _say(body, tokens, dice)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    finish = "length" if tokens.cut else "stop"
    return {
        "id": f"chatcmpl-{dice.hex(29)}",
        "object": "chat.completion",
        "created": created,
        "model": snapshot(body["model"]),
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
            for index in range(whole(body, "n", 1, 128))
        ],
        "usage": _usage(tokens),
        "service_tier": "default",
        "system_fingerprint": f"fp_{dice.hex(10)}",
    }


def _completion(body: Body, tokens: Tokens, dice: Dice, created: int) -> dict[str, Any]:
    text = _say(body, tokens, dice)
    finish = "length" if tokens.cut else "stop"
    return {
        "id": f"cmpl-{dice.hex(29)}",
        "object": "text_completion",
        "created": created,
        "model": snapshot(body["model"]),
        "choices": [
            {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
            for index in range(whole(body, "n", 1, 128))
        ],
        "usage": {
            "prompt_tokens": tokens.input,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.input + tokens.output,
        },
    }


def _response(body: Body, tokens: Tokens, dice: Dice, created: int) -> dict[str, Any]:
    status = "incomplete" if tokens.cut else "completed"
    thought: list[dict[str, Any]] = (
        [{"id": f"rs_{dice.hex(48)}", "type": "reasoning", "summary": []}] if tokens.reasoning else []
    )
    part: dict[str, Any] = {"type": "output_text", "annotations": [], "logprobs": [], "text": _say(body, tokens, dice)}
    message: dict[str, Any] = {
        "id": f"msg_{dice.hex(48)}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [part],
    }
    return {
        "id": f"resp_{dice.hex(48)}",
        "object": "response",
        "created_at": created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if tokens.cut else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": snapshot(body["model"]),
        "output": [*thought, *([message] if part["text"] else [])],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": {
            "input_tokens": tokens.input,
            "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0},
            "output_tokens": tokens.output,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "total_tokens": tokens.input + tokens.output,
        },
        "user": None,
        "metadata": body.get("metadata") or {},
    }


def _embeddings(body: Body, tokens: Tokens, dice: Dice, created: int) -> dict[str, Any]:
    del created
    size = whole(body, "dimensions", _DIMENSIONS.get(body["model"], 1536), 4096)
    packed = body.get("encoding_format") == "base64"
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(dice, index, size, packed=packed)}
            for index in range(len(inputs(body)))
        ],
        "model": snapshot(body["model"]),
        "usage": {"prompt_tokens": tokens.input, "total_tokens": tokens.input},
    }


def _vector(dice: Dice, index: int, size: int, *, packed: bool) -> list[float] | str:
    """About unit length, whatever its size."""
    raw = hashlib.shake_128(f"{dice.hex(64)}{index}".encode()).digest(size * 2)
    scale = (3 / size) ** 0.5 / 32768
    numbers = [round(number * scale, 8) for number in struct.unpack(f"<{size}h", raw)]
    return base64.b64encode(struct.pack(f"<{size}f", *numbers)).decode() if packed else numbers


def _moderation(body: Body, tokens: Tokens, dice: Dice, created: int) -> dict[str, Any]:
    del tokens, created
    scores = {harm: round((1 + dice.below(index % 12, 999)) / 1e6, 6) for index, harm in enumerate(_HARMS)}
    result = {
        "flagged": False,
        "categories": dict.fromkeys(_HARMS, False),
        "category_scores": scores,
        "category_applied_input_types": {harm: ["text"] for harm in _HARMS},
    }
    return {
        "id": f"modr-{dice.hex(32)}",
        "model": snapshot(body.get("model") or "omni-moderation-latest"),
        "results": [result for _ in inputs(body)],
    }


_SHAPES: Mapping[str, Shape] = {
    "/v1/chat/completions": _chat,
    "/v1/responses": _response,
    "/v1/embeddings": _embeddings,
    "/v1/completions": _completion,
    "/v1/moderations": _moderation,
}
ENDPOINTS = frozenset(_SHAPES)
"""Endpoints that the sandbox can answer, one by one or in batches."""
