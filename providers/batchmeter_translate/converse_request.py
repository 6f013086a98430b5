"""An OpenAI chat request -> a Bedrock Converse body, which Amazon Nova's own `InvokeModel` body is too, but for two names.

Sources: AWS's service model of bedrock-runtime (Converse) and its pages on batch inference, read 2026-11-30: a job of the
type Converse fails every record with a `toolConfig`; Nova's own bodies take one.
"""

import json
from dataclasses import dataclass
from typing import Any

from .gemini_contents import text_of
from .gemini_request import DROPPED
from .media import data_url
from .shape import Json, is_object, mapping, objects, present, sequence
from .untranslatable import Notes, UntranslatableError

_NUMBERS = {"temperature": ("temperature", 0.0, 1.0), "top_p": ("topP", 0.0, 1.0)}
"""OpenAI's name -> inferenceConfig's, least, most."""
IGNORED = {name: why.replace("Gemini", "Bedrock") for name, why in DROPPED.items()} | {
    "seed": "Converse has no seed",
    "presence_penalty": "Converse has no penalties",
    "frequency_penalty": "Converse has no penalties",
    "logprobs": "Converse gives no log probabilities",
    "top_logprobs": "Converse gives no log probabilities",
}
_CONVERTED = frozenset(
    {"model", "messages", "tools", "functions", "tool_choice", "function_call", "max_tokens", "max_completion_tokens"}
    | {"stop", "stream", "n", "response_format", "modalities", "top_k", "additionalModelRequestFields", *_NUMBERS}
)
_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_CHOICES: dict[str, Json] = {"auto": {"auto": {}}, "required": {"any": {}}}


@dataclass(frozen=True, slots=True)
class ConverseTarget:
    """Where a request is to run."""

    nova: bool = False
    """Nova's own body: it takes tools and `topK`, and has no `outputConfig`."""


def converse_request(body: Json, notes: Notes, target: ConverseTarget) -> Json:
    """UntranslatableError for what cannot be said there."""
    _refuse(body, target)
    for name in body:
        if name not in _CONVERTED and body[name] is not None:
            if name not in IGNORED:
                raise UntranslatableError(name, f"`{name}` has no counterpart; leave it out, or send native rows")
            notes.drop(name, IGNORED[name])
    messages, system = _conversation(body)
    return present(
        schemaVersion="messages-v1" if target.nova else None,
        messages=messages,
        system=system or None,
        inferenceConfig=_config(body, target),
        toolConfig=_tools(body) if target.nova else None,
        outputConfig=_output(body),
        additionalModelRequestFields=None if target.nova else mapping(body.get("additionalModelRequestFields")),
    )


def _refuse(body: Json, target: ConverseTarget) -> None:
    if body.get("n") not in (None, 1):
        raise UntranslatableError("n", "Bedrock gives one answer per request")
    if body.get("stream"):
        raise UntranslatableError("stream", "a batch does not stream; leave it out")
    if any(word != "text" for word in sequence(body.get("modalities"))):
        raise UntranslatableError("modalities", "Converse answers with text only")
    form = mapping(body.get("response_format")).get("type", "text")
    if form != "text" and (target.nova or form != "json_schema"):
        raise UntranslatableError("response_format", f"{form!r} has no counterpart; ask for it in the prompt")
    calls = any(message.get("tool_calls") or message.get("role") == "tool" for message in objects(body.get("messages")))
    if not target.nova and (body.get("tools") or body.get("functions") or calls):
        raise UntranslatableError(
            "tools",
            "a Converse job fails every record with tools; use a Claude, Nova or OpenAI-style model, or no tools",
        )
    if not target.nova and body.get("top_k") is not None:
        raise UntranslatableError("top_k", "Converse has no `top_k`; put it into additionalModelRequestFields")


def _config(body: Json, target: ConverseTarget) -> Json:
    made = {name: _number(body, key, least, most) for key, (name, least, most) in _NUMBERS.items()}
    limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    stop = body.get("stop")
    return present(
        maxTokens=_whole(body, limit),
        topK=_whole(body, "top_k") if target.nova else None,
        stopSequences=[stop] if isinstance(stop, str) else sequence(stop) or None,
        **made,
    )


def _number(body: Json, key: str, least: float, most: float) -> Any:
    value = body.get(key)
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most
    ):
        raise UntranslatableError(key, f"`{key}` is {value!r}; it can be {least:g} to {most:g}", "invalid_value")
    return value


def _whole(body: Json, key: str) -> Any:
    value = body.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise UntranslatableError(key, f"`{key}` is {value!r}, not a number from 1", "invalid_value")
    return value


def _output(body: Json) -> Json | None:
    form = mapping(body.get("response_format"))
    if form.get("type", "text") == "text":
        return None
    given = mapping(form.get("json_schema"))
    schema = present(
        schema=json.dumps(mapping(given.get("schema")), ensure_ascii=False),
        name=given.get("name"),
        description=given.get("description"),
    )
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}


def _conversation(body: Json) -> tuple[list[Json], list[Json]]:
    """Messages, whose roles take turns, and system blocks; nothing but instructions becomes a user's turn."""
    system: list[Json] = []
    messages: list[Json] = []
    for message in objects(body.get("messages")):
        if message.get("role") in ("system", "developer"):
            system += [{"text": text}] if (text := text_of(message.get("content"))) else []
            continue
        role, blocks = _message(message)
        if blocks and messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": role, "content": blocks})
    if messages:
        return messages, system
    if not system:
        raise UntranslatableError("messages", "no message with content", "missing_required_parameter")
    return [{"role": "user", "content": system}], []


def _message(message: Json) -> tuple[str, list[Json]]:
    role = message.get("role")
    if role == "user":
        return "user", _blocks(message.get("content"))
    if role == "tool":
        content = [{"text": text_of(message.get("content")) or " "}]
        return "user", [{"toolResult": {"toolUseId": str(message.get("tool_call_id")), "content": content}}]
    if role == "assistant":
        return "assistant", _blocks(message.get("content")) + [_call(one) for one in objects(message.get("tool_calls"))]
    raise UntranslatableError("messages", f"{role!r} is no role of a message", "invalid_value")


def _call(call: Json) -> Json:
    function = mapping(call.get("function"))
    try:
        arguments: Any = json.loads(str(function.get("arguments") or "{}"))
    except ValueError:
        arguments = None
    if not is_object(arguments):
        raise UntranslatableError("messages.tool_calls", "arguments have to be a JSON object", "invalid_value")
    return {"toolUse": {"toolUseId": str(call.get("id")), "name": function.get("name"), "input": arguments}}


def _blocks(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [{"text": content}] if content else []
    return [_block(part, number) for number, part in enumerate(objects(content), 1)]


def _block(part: Json, number: int) -> Json:
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return {"text": str(part.get("text") or part.get("refusal") or "")}
    if kind == "image_url":
        value: Any = part.get("image_url")
        url = value if isinstance(value, str) else str(mapping(value).get("url"))
        return {"image": _media(url, _IMAGES)}
    if kind == "file":
        file = mapping(part.get("file"))
        return {"document": {"name": f"document {number}", **_media(str(file.get("file_data")), _DOCUMENTS)}}
    raise UntranslatableError("messages", f"a content part of type {kind!r} has no counterpart in Converse")


def _media(url: str, formats: dict[str, str]) -> Json:
    """`format` and `source`, by the media type of a `data:` URL, or the end of an `s3://` one's name."""
    if url.startswith("s3://"):
        end = url.rpartition(".")[2].lower().replace("jpg", "jpeg")
        if end not in formats.values():
            raise UntranslatableError("messages", f"{url[:80]!r} does not end in one of {', '.join(formats.values())}")
        return {"format": end, "source": {"s3Location": {"uri": url}}}
    inline = data_url(url)
    if inline is None:
        raise UntranslatableError(
            "messages", f"{url[:80]!r} is neither a data: nor an s3:// URL: Bedrock fetches nothing", "invalid_value"
        )
    if inline[0] not in formats:
        raise UntranslatableError("messages", f"{inline[0]!r} is none of {', '.join(formats)}", "invalid_value")
    return {"format": formats[inline[0]], "source": {"bytes": inline[1]}}


def _tools(body: Json) -> Json | None:
    given = [*objects(body.get("tools")), *({"function": function} for function in objects(body.get("functions")))]
    if not given or (choice := body.get("tool_choice", body.get("function_call"))) == "none":
        return None
    return present(tools=[_tool(tool) for tool in given], toolChoice=_choice(choice))


def _tool(tool: Json) -> Json:
    function = mapping(tool.get("function"))
    if tool.get("type", "function") != "function" or not isinstance(function.get("name"), str):
        raise UntranslatableError("tools", f"a tool of type {tool.get('type')!r} has no counterpart")
    schema: Json = {"type": "object", "properties": {}, **mapping(function.get("parameters"))}
    return {
        "toolSpec": present(
            name=function["name"], description=function.get("description") or None, inputSchema={"json": schema}
        )
    }


def _choice(choice: Any) -> Json | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise UntranslatableError("tool_choice", f"{choice!r} is none of none, auto, required", "invalid_value")
        return _CHOICES[choice]
    name = mapping(mapping(choice).get("function")).get("name") or mapping(choice).get("name")
    if not isinstance(name, str):
        raise UntranslatableError("tool_choice", "only a function can be chosen", "invalid_value")
    return {"tool": {"name": name}}
