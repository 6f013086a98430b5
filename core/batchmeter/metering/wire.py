"""Output lines as typed structs: what is not named here is skipped while decoding, message text first of all."""

from __future__ import annotations

import json
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Struct

from .vectors import MANY, without_vectors

Dict = dict[str, Any]

_GOOGLE = {
    "usage_metadata": "usageMetadata",
    "model_version": "modelVersion",
    "token_count": "tokenCount",
    "prompt_feedback": "promptFeedback",
}
_AMAZON = {
    "model_output": "modelOutput",
    "record_id": "recordId",
    "total_record_count": "totalRecordCount",
    "input_token_count": "inputTokenCount",
    "output_token_count": "outputTokenCount",
    "input_text_token_count": "inputTextTokenCount",
    "token_count": "tokenCount",
}


class Environment(Struct, gc=False):
    """Where a hosted shell ran."""

    container_id: str | None = None


class OutputItem(Struct, gc=False):
    """One item of a Responses body."""

    type: str | None = None
    container_id: str | None = None
    environment: Environment | None = None


class Searches(Struct, gc=False):
    num_requests: int | None = None


class ToolUsage(Struct, gc=False):
    """What OpenAI tells of its own tools beside the usage."""

    web_search: Searches | None = None


class Body(Struct, gc=False):
    """An answer in OpenAI's or Anthropic's shape."""

    model: str | None = None
    usage: Dict | None = None
    type: str | None = None
    object: str | None = None
    error: Any = None
    output: list[OutputItem] | None = None
    tool_usage: ToolUsage | None = None


class Response(Struct, gc=False, rename=_GOOGLE):
    """OpenAI's `response` with status and body; or the vendor's own answer in its place (Vertex, Gemini, Fireworks)."""

    status_code: int | None = None
    body: Body | str | None = None
    model: str | None = None
    usage: Dict | None = None
    type: str | None = None
    usage_metadata: Dict | None = None
    model_version: str | None = None
    token_count: int | None = None
    candidates: msgspec.Raw = msgspec.Raw()
    prompt_feedback: msgspec.Raw = msgspec.Raw()
    embedding: msgspec.Raw = msgspec.Raw()


class Result(Struct, gc=False):
    """Anthropic's `result`."""

    type: str | None = None
    message: Body | None = None
    error: Any = None


class ModelOutput(Struct, gc=False, rename=_AMAZON):
    """Bedrock's `modelOutput`; families that count beside their text are read as usage of their own."""

    model: str | None = None
    usage: Dict | None = None
    type: str | None = None
    input_text_token_count: Any = None
    results: list[TitanResult] | None = None
    prompt_token_count: Any = None
    generation_token_count: Any = None


class TitanResult(Struct, gc=False, rename=_AMAZON):
    token_count: Any = None


class Statistics(Struct, gc=False):
    token_count: Any = None


class Embeddings(Struct, gc=False):
    statistics: Statistics | None = None


class Prediction(Struct, gc=False):
    """Vertex AI's older prediction."""

    embeddings: Embeddings | None = None


class Completion(Struct, gc=False):
    """xAI's wrapping of the answer."""

    chat_get_completion: Body | None = None


class BatchResult(Struct, gc=False):
    """xAI's `batch_result`."""

    response: Completion | None = None
    error: Any = None


class Request(Struct, gc=False):
    """The request that Vertex AI echoes."""

    labels: Dict | None = None


class Line(Struct, gc=False, rename=_AMAZON):
    """Every vendor's envelope at once: no two of them use the same key for different things."""

    custom_id: str | int | float | None = None
    response: Response | None = None
    error: Any = None
    status: str | None = None
    result: Result | None = None
    model_output: ModelOutput | None = None
    record_id: str | int | float | None = None
    key: str | int | float | None = None
    batch_request_id: str | None = None
    batch_result: BatchResult | None = None
    predictions: list[Prediction] | None = None
    prediction: Prediction | None = None
    request: Request | None = None
    total_record_count: int | None = None
    input_token_count: int | None = None
    output_token_count: int | None = None


_line = msgspec.json.Decoder(Line)
_body = msgspec.json.Decoder(Body)
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(raw: bytes | bytearray) -> Line | None:
    """The line; after a second, tolerant look where it is not strictly so; None where it is no JSON object."""
    if len(raw) > MANY:
        raw = without_vectors(raw)
    try:
        return _line.decode(raw)
    except _REFUSED:
        return fit(_loads(raw.decode("utf-8", "replace")), Line)


def decode_body(text: str) -> Body | None:
    """A body that was sent as a JSON string; None where the string is just text, or was shortened as a long line's."""
    if "\0" in text:
        return None
    try:
        return _body.decode(text)
    except _REFUSED:
        return fit(_loads(text), Body)


def _loads(text: str) -> object:
    """Lone surrogates, NaN and control characters are let through."""
    try:
        return json.loads(text.lstrip("\ufeff"), strict=False)
    except (ValueError, RecursionError):
        return None


Shape = TypeVar("Shape", bound=Struct)


def fit(value: object, shape: type[Shape]) -> Shape | None:
    """As much of a parsed object as fits its struct; what does not is left out, not refused."""
    if isinstance(value, str):
        value = _loads(value)
    if not isinstance(value, dict):
        return None
    given = cast("Dict", value)
    known = {field.name: _fitted(given.get(field.encode_name), field.type) for field in msgspec.structs.fields(shape)}
    return shape(**{name: part for name, part in known.items() if part is not None})


def _fitted(value: object, wanted: Any) -> object:
    if value is None or wanted is Any:
        return value
    options = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    fitted = (_as(value, option) for option in options)
    return next((part for part in fitted if part is not None), None)


def _as(value: object, wanted: Any) -> object:
    if get_origin(wanted) is list:
        (item,) = get_args(wanted)
        return [_as(one, item) or item() for one in cast("list[object]", value)] if isinstance(value, list) else None
    if isinstance(wanted, type) and issubclass(wanted, Struct):
        return fit(value, wanted)
    if wanted is msgspec.Raw:
        return msgspec.Raw(b"true") if value else None
    if wanted is int:
        return _whole(value)
    kind = cast("type[object]", get_origin(wanted) or wanted)
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return int(value) if isinstance(value, int | float) and value == value // 1 else None
