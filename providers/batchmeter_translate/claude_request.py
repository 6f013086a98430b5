"""An OpenAI chat request -> an Anthropic Messages request for Claude on Vertex AI.

Content is always a list of blocks, never bare text: the importer wants one type per key.
"""

import json
from typing import Any

from .gemini_contents import text_of
from .gemini_request import DROPPED
from .media import data_url
from .shape import Json, is_array, is_object, mapping, objects, present, sequence
from .thinking import CLAUDE_BUDGETS
from .untranslatable import Notes, UntranslatableError

VERSION = "vertex-2023-10-16"
DEFAULT_MAX_TOKENS = 4096
"""Anthropic demands a limit, OpenAI does not."""

_SAME = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k"}
_IGNORED = DROPPED | {
    "seed": "Claude has no seed",
    "presence_penalty": "Claude has no penalties",
    "frequency_penalty": "Claude has no penalties",
    "logprobs": "Claude gives no log probabilities",
    "top_logprobs": "Claude gives no log probabilities",
}
_ELSEWHERE = frozenset(
    {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "reasoning_effort",
        "stream",
        "n",
        "response_format",
        "modalities",
        "parallel_tool_calls",
    }
)
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def claude_request(body: Json, notes: Notes) -> Json:
    _refuse(body)
    system: list[Json] = []
    messages: list[Json] = []
    for message in objects(body.get("messages")):
        if message.get("role") in ("system", "developer"):
            system += _blocks(message.get("content"))
        else:
            _turn(messages, *_message(message))
    if not messages:
        messages, system = [{"role": "user", "content": system}], []
    for name in body:
        if name not in _ELSEWHERE and name not in _SAME and body[name] is not None:
            _drop(name, notes)
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_MAX_TOKENS
    thinking = _thinking(body.get("reasoning_effort"))
    if thinking is not None and limit <= thinking["budget_tokens"]:
        limit += thinking["budget_tokens"]
    tools = [_tool(tool) for tool in objects(body.get("tools"))]
    return present(
        anthropic_version=VERSION,
        max_tokens=limit,
        messages=messages,
        system=system or None,
        tools=tools or None,
        tool_choice=_choice(body) if tools else None,
        stop_sequences=_stops(body.get("stop")),
        thinking=thinking,
        **{theirs: body.get(ours) for ours, theirs in _SAME.items()},
    )


def _refuse(body: Json) -> None:
    if body.get("n") not in (None, 1):
        raise UntranslatableError("n", "Claude gives one answer per request")
    if body.get("stream"):
        raise UntranslatableError("stream", "a batch does not stream; leave it out")
    if mapping(body.get("response_format")).get("type", "text") != "text":
        raise UntranslatableError(
            "response_format", "Claude on Vertex AI has no JSON mode; ask for a tool call instead"
        )


def _drop(name: str, notes: Notes) -> None:
    if name not in _IGNORED:
        raise UntranslatableError(name, f"`{name}` has no Anthropic counterpart; leave it out, or send native rows")
    notes.drop(name, _IGNORED[name])


def _turn(messages: list[Json], role: str, blocks: list[Json]) -> None:
    if not blocks:
        return
    if messages and messages[-1]["role"] == role:
        messages[-1]["content"] += blocks
    else:
        messages.append({"role": role, "content": blocks})


def _message(message: Json) -> tuple[str, list[Json]]:
    role = message.get("role")
    if role == "user":
        return "user", _blocks(message.get("content"))
    if role == "tool":
        return "user", [_result(message)]
    if role == "assistant":
        calls = [_call(call) for call in objects(message.get("tool_calls"))]
        return "assistant", _blocks(message.get("content")) + calls
    raise UntranslatableError("messages", f"{role!r} is no role of a message", "invalid_value")


def _result(message: Json) -> Json:
    content = _blocks(text_of(message.get("content")))
    return {"type": "tool_result", "tool_use_id": str(message.get("tool_call_id"))} | present(content=content or None)


def _call(call: Json) -> Json:
    function = mapping(call.get("function"))
    try:
        arguments: Any = json.loads(str(function.get("arguments") or "{}"))
    except ValueError:
        arguments = None
    if not is_object(arguments) or not arguments:
        raise UntranslatableError(
            "messages.tool_calls", "arguments have to be a JSON object that is not empty: the importer drops empty ones"
        )
    return {"type": "tool_use", "id": str(call.get("id")), "name": function.get("name"), "input": arguments}


def _blocks(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_block(part) for part in objects(content)]


def _block(part: Json) -> Json:
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return {"type": "text", "text": str(part.get("text") or part.get("refusal") or "")}
    if kind == "image_url":
        value: Any = part.get("image_url")
        return {"type": "image", "source": _source(value if isinstance(value, str) else str(mapping(value).get("url")))}
    if kind == "file":
        return {"type": "document", "source": _source(str(mapping(part.get("file")).get("file_data")))}
    raise UntranslatableError("messages", f"a content part of type {kind!r} has no Anthropic counterpart")


def _source(url: str) -> Json:
    inline = data_url(url)
    if inline is not None:
        return {"type": "base64", "media_type": inline[0], "data": inline[1]}
    if not url.startswith("https://"):
        raise UntranslatableError("messages", f"{url[:80]!r} is neither a data: nor an https:// URL", "invalid_value")
    return {"type": "url", "url": url}


def _tool(tool: Json) -> Json:
    function = mapping(tool.get("function"))
    if tool.get("type", "function") != "function" or not isinstance(function.get("name"), str):
        raise UntranslatableError("tools", f"a tool of type {tool.get('type')!r} has no Anthropic counterpart")
    schema = mapping(_without_dollars(function.get("parameters")))
    return present(
        name=function["name"],
        description=function.get("description") or None,
        input_schema={"type": "object"} | schema,
    )


def _without_dollars(schema: Any) -> Any:
    """Claude takes plain JSON Schema; the importer takes no `$` in a name."""
    if is_array(schema):
        return [_without_dollars(item) for item in sequence(schema)]
    if not is_object(schema):
        return schema
    if "$ref" in schema:
        raise UntranslatableError("tools", "a schema with $ref cannot be sent to Claude on Vertex AI; write it out")
    return {
        key: _without_dollars(value)
        for key, value in mapping(schema).items()
        if not key.startswith("$") and key not in ("additionalProperties", "strict")
    }


def _choice(body: Json) -> Json | None:
    choice, parallel = body.get("tool_choice"), body.get("parallel_tool_calls")
    alone = {"disable_parallel_tool_use": True} if parallel is False else {}
    if choice is None:
        return {"type": "auto", **alone} if alone else None
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise UntranslatableError("tool_choice", f"{choice!r} is none of {', '.join(_CHOICES)}", "invalid_value")
        return {"type": _CHOICES[choice], **(alone if choice != "none" else {})}
    return {"type": "tool", "name": str(mapping(mapping(choice).get("function")).get("name")), **alone}


def _stops(stop: Any) -> list[Any] | None:
    return [stop] if isinstance(stop, str) else sequence(stop) or None


def _thinking(effort: Any) -> Json | None:
    if effort in (None, "none"):
        return None
    if effort not in CLAUDE_BUDGETS:
        known = ", ".join(("none", *CLAUDE_BUDGETS))
        raise UntranslatableError("reasoning_effort", f"{effort!r} is none of {known}", "invalid_value")
    return {"type": "enabled", "budget_tokens": CLAUDE_BUDGETS[effort]}
