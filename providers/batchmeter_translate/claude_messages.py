"""OpenAI messages and tools -> Anthropic's. Content is always a list of blocks: importers want one type per key."""

import json
from dataclasses import dataclass
from typing import Any

from .gemini_contents import text_of
from .media import data_url
from .shape import Json, is_array, is_object, mapping, objects, present, sequence
from .untranslatable import UntranslatableError

_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


@dataclass(frozen=True, slots=True)
class ClaudeTarget:
    """Where a request is to run."""

    version: str | None = None
    """`anthropic_version` in the body, as clouds want it; Anthropic takes it as a header."""
    names_model: bool = False
    """`model` is part of the request."""
    importer: bool = False
    """Rows are loaded by an importer that takes no empty objects and no names with `$`."""


def conversation(body: Json, target: ClaudeTarget) -> tuple[list[Json], list[Json]]:
    """Messages and system blocks; a conversation of nothing but instructions becomes a user's turn."""
    system: list[Json] = []
    messages: list[Json] = []
    for message in objects(body.get("messages")):
        if message.get("role") in ("system", "developer"):
            system += _blocks(message.get("content"))
        else:
            _turn(messages, *_message(message, target))
    if messages:
        return messages, system
    if not system:
        raise UntranslatableError("messages", "no message with content", "missing_required_parameter")
    return [{"role": "user", "content": system}], []


def tools_of(body: Json, target: ClaudeTarget) -> list[Json]:
    """Functions only, the older `functions` too; any other kind of tool is refused."""
    given = [*objects(body.get("tools")), *({"function": function} for function in objects(body.get("functions")))]
    return [_tool(tool, target) for tool in given]


def choice_of(body: Json) -> Json | None:
    choice, parallel = body.get("tool_choice", body.get("function_call")), body.get("parallel_tool_calls")
    alone = {"disable_parallel_tool_use": True} if parallel is False else {}
    if choice is None:
        return {"type": "auto", **alone} if alone else None
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise UntranslatableError("tool_choice", f"{choice!r} is none of {', '.join(_CHOICES)}", "invalid_value")
        return {"type": _CHOICES[choice], **(alone if choice != "none" else {})}
    given = mapping(choice)
    name = mapping(given.get("function")).get("name") or given.get("name")
    if not isinstance(name, str):
        raise UntranslatableError("tool_choice", "only a function can be chosen", "invalid_value")
    return {"type": "tool", "name": name, **alone}


def _turn(messages: list[Json], role: str, blocks: list[Json]) -> None:
    if not blocks:
        return
    if messages and messages[-1]["role"] == role:
        messages[-1]["content"] += blocks
    else:
        messages.append({"role": role, "content": blocks})


def _message(message: Json, target: ClaudeTarget) -> tuple[str, list[Json]]:
    role = message.get("role")
    if role == "user":
        return "user", _blocks(message.get("content"))
    if role == "tool":
        return "user", [_result(message)]
    if role == "assistant":
        calls = [_call(call, target) for call in objects(message.get("tool_calls"))]
        return "assistant", _blocks(message.get("content")) + calls
    raise UntranslatableError("messages", f"{role!r} is no role of a message", "invalid_value")


def _result(message: Json) -> Json:
    content = _blocks(text_of(message.get("content")))
    return {"type": "tool_result", "tool_use_id": str(message.get("tool_call_id"))} | present(content=content or None)


def _call(call: Json, target: ClaudeTarget) -> Json:
    function = mapping(call.get("function"))
    try:
        arguments: Any = json.loads(str(function.get("arguments") or "{}"))
    except ValueError:
        arguments = None
    if not is_object(arguments):
        raise UntranslatableError("messages.tool_calls", "arguments have to be a JSON object", "invalid_value")
    if not arguments and target.importer:
        raise UntranslatableError(
            "messages.tool_calls", "arguments have to be a JSON object that is not empty: the importer drops empty ones"
        )
    return {"type": "tool_use", "id": str(call.get("id")), "name": function.get("name"), "input": arguments}


def _blocks(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_block(part) | present(cache_control=part.get("cache_control")) for part in objects(content)]


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


def _tool(tool: Json, target: ClaudeTarget) -> Json:
    function = mapping(tool.get("function"))
    if tool.get("type", "function") != "function" or not isinstance(function.get("name"), str):
        raise UntranslatableError("tools", f"a tool of type {tool.get('type')!r} has no Anthropic counterpart")
    parameters = function.get("parameters")
    schema = mapping(_without_dollars(parameters) if target.importer else parameters)
    return present(
        name=function["name"],
        description=function.get("description") or None,
        input_schema={"type": "object"} | schema,
        cache_control=tool.get("cache_control") or function.get("cache_control"),
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
