"""Output lines as each vendor writes them, around a usage object."""

import json
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

HELLO = {"role": "assistant", "content": 'They said "usage": {"prompt_tokens": 999999} and left.'}


def dump(*lines: Json) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def openai(model: str | None, usage: Json | None, custom_id: str = "r-1", **body: Any) -> Json:
    whole = {"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": HELLO}], **body}
    if model is not None:
        whole["model"] = model
    if usage is not None:
        whole["usage"] = usage
    response = {"status_code": 200, "request_id": "req_1", "body": whole}
    return {"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": None}


def openai_failed(code: str = "batch_expired", custom_id: str = "r-1") -> Json:
    return {"id": "b", "custom_id": custom_id, "response": None, "error": {"code": code, "message": "no"}}


def message(model: str | None, usage: Json | None) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": HELLO["content"]}],
        "stop_reason": "end_turn",
        "usage": usage,
    }


def anthropic(model: str | None, usage: Json | None, result: str = "succeeded", custom_id: str = "r-1") -> Json:
    if result == "succeeded":
        return {"custom_id": custom_id, "result": {"type": "succeeded", "message": message(model, usage)}}
    if result == "errored":
        error = {"type": "error", "error": {"type": "invalid_request_error", "message": "bad"}, "request_id": None}
        return {"custom_id": custom_id, "result": {"type": "errored", "error": error}}
    return {"custom_id": custom_id, "result": {"type": result}}


def gemini(
    model: str | None,
    usage: Json | None,
    status: str = "",
    custom_id: str = "r-1",
    candidates: list[Json] | None = None,
) -> Json:
    row: Json = {"status": status, "processed_time": "2026-01-01T18:13:16.826+00:00", "custom_id": custom_id}
    row["request"] = {"contents": [{"role": "user", "parts": [{"text": "hi", "file_data": None}]}]}
    if not status:
        said = [{"content": {"role": "model", "parts": [{"text": HELLO["content"]}]}, "finishReason": "STOP"}]
        candidates = said if candidates is None else candidates
        row["response"] = {"candidates": candidates, "modelVersion": model, "usageMetadata": usage}
        row["response"] = {key: value for key, value in row["response"].items() if value is not None}
    return row


def gemini_api(model: str | None, usage: Json | None, custom_id: str = "r-1") -> Json:
    return {"key": custom_id, "response": gemini(model, usage)["response"]}


def claude_on_vertex(model: str | None, usage: Json | None, custom_id: str = "r-1") -> Json:
    return {"custom_id": custom_id, "request": {}, "response": message(model, usage), "status": ""}


def bedrock(output: Json, custom_id: str = "REC00000001") -> Json:
    return {"recordId": custom_id, "modelInput": {"prompt": "x"}, "modelOutput": output}


def xai(model: str | None, usage: Json | None, custom_id: str = "r-1") -> Json:
    completion = openai(model, usage)["response"]["body"]
    return {"batch_request_id": custom_id, "batch_result": {"response": {"chat_get_completion": completion}}}


def numbered(lines: Iterable[Json]) -> list[Json]:
    """The same lines under ids of their own."""
    keys = ("custom_id", "recordId", "key", "batch_request_id")
    return [{k: f"r-{n}" if k in keys else v for k, v in line.items()} for n, line in enumerate(lines)]
