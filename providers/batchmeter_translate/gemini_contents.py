"""OpenAI messages -> Gemini `contents` and `systemInstruction`."""

import json
from dataclasses import dataclass, field
from typing import Any

from .media import PARTS
from .shape import Json, is_array, is_object, mapping, objects, present, sequence
from .untranslatable import UntranslatableError

_SPACE: Json = {"text": " "}
"""Says nothing, where Gemini wants a text: in a turn of media only, and before a first turn that is the model's."""
_MEDIA = frozenset({"inlineData", "fileData"})


@dataclass(slots=True)
class Conversation:
    """Turns as Gemini wants them: only `user` and `model`, never the same twice in a row."""

    contents: list[Json] = field(default_factory=list[Json])
    system: list[Json] = field(default_factory=list[Json])
    _called: dict[str, str] = field(default_factory=dict[str, str])
    """Tool call id -> function name."""

    def add(self, message: Json) -> None:
        role = message.get("role")
        if role in ("system", "developer"):
            self.system += parts_of(message.get("content"))
        elif role == "user":
            self._turn("user", parts_of(message.get("content")))
        elif role == "assistant":
            self._turn("model", self._assistant(message))
        elif role in ("tool", "function"):
            self._turn("user", [self._result(message)])
        else:
            raise UntranslatableError("messages", f"{role!r} is no role of a message", "invalid_value")

    def finished(self) -> tuple[list[Json], Json | None]:
        """Contents and systemInstruction; a conversation of nothing but instructions becomes a user's turn."""
        if not self.contents:
            if not self.system:
                raise UntranslatableError("messages", "no message with content", "missing_required_parameter")
            return [{"role": "user", "parts": self.system}], None
        if self.contents[0]["role"] == "model":
            self.contents.insert(0, {"role": "user", "parts": [_SPACE]})
        for turn in self.contents:
            if any(part.keys() & _MEDIA for part in turn["parts"]) and not any(
                "text" in part for part in turn["parts"]
            ):
                turn["parts"].append(_SPACE)
        return self.contents, {"parts": self.system} if self.system else None

    def _turn(self, role: str, parts: list[Json]) -> None:
        if not parts:
            return
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"] += parts
        else:
            self.contents.append({"role": role, "parts": parts})

    def _assistant(self, message: Json) -> list[Json]:
        parts = parts_of(message.get("content"))
        calls = objects(message.get("tool_calls"))
        legacy = mapping(message.get("function_call"))
        if legacy:
            calls = [*calls, {"id": legacy.get("name"), "function": legacy}]
        return parts + [self._call(call) for call in calls]

    def _call(self, call: Json) -> Json:
        function = mapping(call.get("function"))
        name = function.get("name")
        if not isinstance(name, str):
            raise UntranslatableError("messages.tool_calls", "only function calls can be translated")
        self._called[str(call.get("id"))] = name
        part: Json = {"functionCall": present(name=name, args=_arguments(function.get("arguments")))}
        return part | present(thoughtSignature=signature_of(call))

    def _result(self, message: Json) -> Json:
        called = str(message.get("tool_call_id") or message.get("name"))
        name = self._called.get(called)
        if name is None:
            raise UntranslatableError(
                "messages.tool_call_id", f"no earlier assistant message has the tool call {called!r}", "invalid_value"
            )
        return {"functionResponse": {"name": name, "response": _response(text_of(message.get("content")))}}


def parts_of(content: Any) -> list[Json]:
    """A message's content, text or parts; empty text makes no part."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"text": content}]
    if not is_array(content):
        raise UntranslatableError("messages", "content has to be text or a list of parts", "invalid_value")
    made = (_part(mapping(part)) for part in sequence(content))
    return [part for part in made if part is not None]


def text_of(content: Any) -> str:
    """Text, or the texts of its parts joined."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in objects(content))


def signature_of(call: Json) -> str | None:
    """Gemini's thought signature, where Google's own OpenAI endpoint, or LiteLLM, puts it."""
    google = mapping(mapping(call.get("extra_content")).get("google"))
    found = google.get("thought_signature") or mapping(call.get("provider_specific_fields")).get("thought_signature")
    return found if isinstance(found, str) else None


def _part(part: Json) -> Json | None:
    convert = PARTS.get(str(part.get("type")))
    if convert is None:
        raise UntranslatableError("messages", f"a content part of type {part.get('type')!r} has no Gemini counterpart")
    return convert(part)


def _arguments(arguments: object) -> Json:
    """The call's arguments as an object; OpenAI has them as JSON text."""
    if is_object(arguments):
        return mapping(arguments)
    try:
        parsed: Any = json.loads(str(arguments or "{}"))
    except ValueError:
        parsed = None
    if not is_object(parsed):
        raise UntranslatableError("messages.tool_calls", "arguments are not a JSON object", "invalid_value")
    return mapping(parsed)


def _response(text: str) -> Json:
    """A JSON object as it is, all else as `{"result": text}`; so is an object that has such a key itself."""
    try:
        parsed: Any = json.loads(text)
    except ValueError:
        parsed = None
    if is_object(parsed) and parsed and "result" not in parsed:
        return mapping(parsed)
    return {"result": text}
