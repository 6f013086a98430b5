"""An OpenAI chat request -> a Gemini `GenerateContentRequest`: one table row per parameter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .gemini_contents import Conversation
from .json_schema import whole_schema
from .schema import subset
from .shape import Json, mapping, objects, present, sequence
from .thinking import gemini_thinking
from .untranslatable import Notes, UntranslatableError

_NUMBERS = {
    "temperature": ("temperature", 0, 2),
    "top_p": ("topP", 0, 1),
    "top_k": ("topK", 1, None),
    "max_tokens": ("maxOutputTokens", 1, None),
    "max_completion_tokens": ("maxOutputTokens", 1, None),
    "n": ("candidateCount", 1, 8),
    "seed": ("seed", None, None),
    "presence_penalty": ("presencePenalty", -2, 2),
    "frequency_penalty": ("frequencyPenalty", -2, 2),
    "top_logprobs": ("logprobs", 0, 20),
}
"""OpenAI's name -> generationConfig's, least, most."""

DROPPED = {
    "metadata": "Gemini keeps no metadata",
    "user": "Gemini has no end-user id",
    "safety_identifier": "Gemini has no end-user id",
    "store": "Gemini stores nothing",
    "service_tier": "a batch job has its own",
    "parallel_tool_calls": "Gemini decides by itself",
    "logit_bias": "Gemini cannot bias tokens",
    "verbosity": "Gemini has no such setting",
    "prediction": "Gemini takes no predicted output",
    "prompt_cache_key": "Gemini caches by itself",
    "prompt_cache_retention": "Gemini caches by itself",
    "stream_options": "a batch does not stream",
}
"""No counterpart, and the answer is one without it: left out with a warning."""

_REFUSED = {"stream": "a batch does not stream; leave it out"}
_ELSEWHERE = frozenset({"model", "messages", "tools", "functions", "tool_choice", "function_call"})
_MAX_STOPS = 5
_MODES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}


@dataclass(slots=True)
class Target:
    """A request being made."""

    model: str
    body: Json
    notes: Notes
    config: Json
    request: Json
    importer: bool


def gemini_request(
    body: Json, model: str, notes: Notes, safety: list[dict[str, str]], *, importer: bool = False
) -> Json:
    """`importer`: rows are loaded by Vertex AI's, which takes no empty objects and no names with `$`."""
    conversation = Conversation()
    for message in objects(body.get("messages")):
        conversation.add(message)
    contents, system = conversation.finished()
    target = Target(model, body, notes, {}, {}, importer)
    for name, value in body.items():
        if value is not None and name not in _ELSEWHERE:
            _parameter(name, value, target)
    declared = declarations(body, notes, importer=importer)
    tools = [{"functionDeclarations": declared}] if declared else []
    return present(
        contents=contents,
        systemInstruction=system,
        tools=[*tools, *target.request.pop("tools", [])] or None,
        toolConfig=_tool_config(body.get("tool_choice") or body.get("function_call")) if declared else None,
        generationConfig=target.config,
        safetySettings=target.request.pop("safetySettings", None) or safety or None,
        **target.request,
    )


def _parameter(name: str, value: Any, target: Target) -> None:
    if name in _NUMBERS:
        target.config[_NUMBERS[name][0]] = _number(name, value)
    elif name in _CONVERTED:
        _CONVERTED[name](value, target)
    elif name in DROPPED:
        target.notes.drop(name, DROPPED[name])
    elif name in _REFUSED:
        if value is not False:
            raise UntranslatableError(name, _REFUSED[name])
    else:
        raise UntranslatableError(name, f"`{name}` has no Gemini counterpart; leave it out, or send native rows")


def _number(name: str, value: Any) -> int | float:
    _, least, most = _NUMBERS[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UntranslatableError(name, f"`{name}` is {value!r}, not a number", "invalid_value")
    if (least is not None and value < least) or (most is not None and value > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        raise UntranslatableError(name, f"`{name}` is {value}; Gemini takes {bounds}", "invalid_value")
    return value


def _stop(value: Any, target: Target) -> None:
    stops = [value] if isinstance(value, str) else sequence(value)
    if len(stops) > _MAX_STOPS:
        raise UntranslatableError("stop", f"{len(stops)} stop sequences; Gemini takes {_MAX_STOPS}", "invalid_value")
    if stops:
        target.config["stopSequences"] = stops


def _logprobs(value: Any, target: Target) -> None:
    if value:
        target.config["responseLogprobs"] = True


def _effort(value: Any, target: Target) -> None:
    target.config["thinkingConfig"] = gemini_thinking(target.model, value)


def _response_format(value: Any, target: Target) -> None:
    form = mapping(value)
    kind = form.get("type")
    if kind == "text":
        return
    if kind not in ("json_object", "json_schema"):
        raise UntranslatableError("response_format", f"a format of type {kind!r} has no Gemini counterpart")
    target.config["responseMimeType"] = "application/json"
    schema = mapping(mapping(form.get("json_schema")).get("schema"))
    if schema and target.importer:
        target.config["responseSchema"] = subset(schema, target.notes, "response_format", ordered=True)
    elif schema:
        target.config["responseJsonSchema"] = whole_schema(schema, "response_format")


def _modalities(value: Any, target: Target) -> None:
    words = [str(word).upper() for word in sequence(value)]
    if words and words != ["TEXT"]:
        target.config["responseModalities"] = words


def _audio(value: Any, target: Target) -> None:
    voice = mapping(value).get("voice")
    if isinstance(voice, str):
        target.config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}


def _safety(value: Any, target: Target) -> None:
    target.request["safetySettings"] = sequence(value)


def _cached(value: Any, target: Target) -> None:
    target.request["cachedContent"] = str(value)


def _web_search(value: Any, target: Target) -> None:
    if value is False:
        return
    if target.importer:
        raise UntranslatableError(
            "web_search_options", "Gemini's search tool is an empty object, which the batch importer refuses"
        )
    for name in mapping(value):
        target.notes.drop(f"web_search_options.{name}", "Gemini's search has no such setting")
    target.request["tools"] = [{"googleSearch": {}}]


_CONVERTED: dict[str, Callable[[Any, Target], None]] = {
    "stop": _stop,
    "logprobs": _logprobs,
    "reasoning_effort": _effort,
    "response_format": _response_format,
    "modalities": _modalities,
    "audio": _audio,
    "safety_settings": _safety,
    "cached_content": _cached,
    "web_search_options": _web_search,
}


def declarations(body: Json, notes: Notes, *, importer: bool) -> list[Json]:
    """The functions of `tools` (or the older `functions`); any other kind of tool is refused."""
    declared: list[Json] = []
    tools = [*objects(body.get("tools")), *({"function": function} for function in objects(body.get("functions")))]
    for tool in tools:
        function = mapping(tool.get("function"))
        if tool.get("type", "function") != "function" or not isinstance(function.get("name"), str):
            raise UntranslatableError("tools", f"a tool of type {tool.get('type')!r} has no Gemini counterpart")
        described = present(name=function["name"], description=function.get("description") or None)
        declared.append(described | _parameters(mapping(function.get("parameters")), notes, importer=importer))
    return declared


def _parameters(schema: Json, notes: Notes, *, importer: bool) -> Json:
    """A function without any has no schema at all."""
    if not schema.get("properties") and "$ref" not in schema:
        return {}
    if importer:
        return {"parameters": subset(schema, notes, "tools")}
    return {"parametersJsonSchema": whole_schema(schema, "tools")}


def _tool_config(choice: Any) -> Json | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in _MODES:
            raise UntranslatableError("tool_choice", f"{choice!r} is none of {', '.join(_MODES)}", "invalid_value")
        return {"functionCallingConfig": {"mode": _MODES[choice]}}
    given = mapping(choice)
    if given.get("type") == "allowed_tools":
        return _allowed(mapping(given.get("allowed_tools")))
    name = mapping(given.get("function")).get("name") or given.get("name")
    if not isinstance(name, str):
        raise UntranslatableError("tool_choice", "only a function can be chosen", "invalid_value")
    return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [name]}}


def _allowed(given: Json) -> Json:
    names = [mapping(tool.get("function")).get("name") for tool in objects(given.get("tools"))]
    mode = _MODES.get(str(given.get("mode")), "AUTO")
    if mode == "AUTO":
        raise UntranslatableError("tool_choice", "Gemini can restrict its tools only when it has to call one")
    return {"functionCallingConfig": {"mode": mode, "allowedFunctionNames": names}}
