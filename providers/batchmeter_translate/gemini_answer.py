"""A Gemini response -> an OpenAI chat completion."""

import json
from typing import Any, cast

from batchmeter.models import Batch

from .shape import Json, mapping, objects, present, sequence, whole
from .usage import gemini_usage

_FILTERED = (
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "LANGUAGE",
    "MODEL_ARMOR",
)
FINISH = {"STOP": "stop", "MAX_TOKENS": "length"} | dict.fromkeys(_FILTERED, "content_filter")
"""Every other reason becomes `stop`; the vendor's own word stays beside it as `native_finish_reason`."""


def gemini_completion(response: Json, model: str, *, vertex: bool = False) -> Json:
    """`model` is the job's, for rows that do not name theirs."""
    answer_id = str(response.get("responseId") or "")
    choices = [_choice(candidate, i, answer_id) for i, candidate in enumerate(objects(response.get("candidates")))]
    return {
        "id": f"chatcmpl-{answer_id or 'gemini'}",
        "object": "chat.completion",
        "created": epoch(response.get("createTime")),
        "model": str(response.get("modelVersion") or model),
        "choices": choices or [_blocked(mapping(response.get("promptFeedback")))],
        "usage": gemini_usage(
            mapping(response.get("usageMetadata")),
            response.get("candidates"),
            str(response.get("modelVersion") or "") or None,
            vertex=vertex,
        ),
    }


def epoch(text: object) -> int:
    """Epoch seconds of an ISO time; 0 where there is none."""
    try:
        return Batch(id="", status="", created_at=cast("Any", text)).created_at or 0
    except ValueError:
        return 0


def _choice(candidate: Json, position: int, answer_id: str) -> Json:
    parts = objects(mapping(candidate.get("content")).get("parts"))
    calls = [part for part in parts if mapping(part.get("functionCall"))]
    reason = str(candidate.get("finishReason") or "STOP")
    index = whole(candidate.get("index")) or position
    message = _message(parts)
    if calls:
        message["tool_calls"] = [_call(part, f"call_{answer_id}_{index}_{i}") for i, part in enumerate(calls)]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(mapping(candidate.get("logprobsResult"))),
        "finish_reason": "tool_calls" if calls and reason == "STOP" else FINISH.get(reason, "stop"),
        "native_finish_reason": reason,
    }


def _message(parts: list[Json]) -> Json:
    texts = [str(part["text"]) for part in parts if part.get("text") is not None and not part.get("thought")]
    thought = [str(part["text"]) for part in parts if part.get("text") is not None and part.get("thought")]
    media = [data for part in parts if (data := mapping(part.get("inlineData")))]
    images = [_image(data) for data in media if str(data.get("mimeType")).startswith("image/")]
    sounds = [data for data in media if str(data.get("mimeType")).startswith("audio/")]
    return {
        "role": "assistant",
        "content": "".join(texts) if texts else None,
        "refusal": None,
        **present(
            reasoning_content="".join(thought) if thought else None,
            images=images or None,
            audio={"data": sounds[0].get("data"), "format": sounds[0].get("mimeType")} if sounds else None,
        ),
    }


def _image(data: Json) -> Json:
    return {"type": "image_url", "image_url": {"url": f"data:{data.get('mimeType')};base64,{data.get('data')}"}}


def _call(part: Json, call_id: str) -> Json:
    """The id is made of the answer's, so that reading it twice gives the same bytes."""
    call = mapping(part.get("functionCall"))
    arguments = json.dumps(mapping(call.get("args")), ensure_ascii=False)
    made: Json = {"id": call_id, "type": "function", "function": {"name": call.get("name"), "arguments": arguments}}
    signature = part.get("thoughtSignature")
    return made | ({"extra_content": {"google": {"thought_signature": signature}}} if signature else {})


def _logprobs(result: Json) -> Json | None:
    chosen = objects(result.get("chosenCandidates"))
    if not chosen:
        return None
    tops = [objects(mapping(top).get("candidates")) for top in sequence(result.get("topCandidates"))]
    return {
        "content": [
            {**_token(token), "top_logprobs": [_token(top) for top in (tops[i] if i < len(tops) else [])]}
            for i, token in enumerate(chosen)
        ],
        "refusal": None,
    }


def _token(token: Json) -> Json:
    text: Any = token.get("token") or ""
    return {
        "token": text,
        "logprob": token.get("logProbability", 0.0),
        "bytes": list(str(text).encode("utf-8", "surrogatepass")),
    }


def _blocked(feedback: Json) -> Json:
    """The prompt itself was refused: no candidate, though its tokens are billed."""
    reason = str(feedback.get("blockReason") or "")
    return {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": None,
            "refusal": feedback.get("blockReasonMessage") or (f"blocked: {reason}" if reason else None),
        },
        "logprobs": None,
        "finish_reason": "content_filter" if reason else "stop",
        "native_finish_reason": reason or "NO_CANDIDATES",
    }
