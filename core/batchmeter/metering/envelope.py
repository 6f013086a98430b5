"""One line's answer, whatever envelope it came in: did it fail, which model answered, what did it count, in which dialect."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import msgspec
from msgspec import Struct

from . import dialects
from .counting import speaks
from .dialects import Dialect
from .wire import BatchResult, Body, Line, ModelOutput, Prediction, Response, Result, decode_body

_DONE = frozenset({"", "ok", "success", "succeeded", "completed"})
"""Words of a top-level status that are no failure; anything else there is Vertex AI's error text."""
_LABEL = re.compile(r"custom_id|(?:batchmeter_cid|litellm_custom_id(?:_raw)?)(?:_\d+)?")
"""Labels that carry a caller's id: a long one takes several. Any other is the caller's own, and says nothing of rows."""
_STATUS = (re.compile(r'"status"\s*:\s*"([A-Z_]+)"'), re.compile(r'"code"\s*:\s*"?(\w+)'))
_TOOLS = {
    "web_search_call": "web_search_calls",
    "file_search_call": "file_search_calls",
    "code_interpreter_call": "containers",
    "image_generation_call": "image_generation_calls",
}
"""Items of a Responses body that are billed by themselves -> what they count as; calls share a container."""
_SLUG = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class _Grounding(Struct, gc=False):
    queries: list[str] = msgspec.field(default_factory=list[str], name="webSearchQueries")


class _Candidate(Struct, gc=False):
    grounding: _Grounding | None = msgspec.field(default=None, name="groundingMetadata")


class Answer(Struct, gc=False):
    """What one line says."""

    custom_id: str | None = None
    failure: str | None = None
    """The error's code; None for an answer that the vendor delivered, whatever it says."""
    model: str | None = None
    usage: dict[str, Any] | None = None
    dialect: Dialect | None = None


def read(line: Line) -> Answer | None:
    """None for a JSON object that is nobody's answer."""
    answer = _answer(line)
    if answer is not None and answer.custom_id is None:
        answer.custom_id = _custom_id(line)
    return answer


def _answer(line: Line) -> Answer | None:
    if line.status is not None and line.status.lower() not in _DONE:
        return Answer(failure=_status_code(line.status))
    if not _empty(line.error):
        return Answer(failure=_code(line.error))
    for key, reader in _READERS:
        part = getattr(line, key)
        if part is not None:
            return reader(part)
    known = line.status is not None or _custom_id(line) is not None
    return Answer(failure="no_response") if known else None


def _response(response: Response) -> Answer:
    wrapped = response.status_code is not None or response.body is not None
    return _openai(response) if wrapped else _native(response)


def _openai(response: Response) -> Answer:
    body = decode_body(response.body) if isinstance(response.body, str) else response.body
    status = response.status_code
    if status is not None and not 200 <= status < 300:  # noqa: PLR2004 - HTTP success
        code = _code(body.error) if body is not None and not _empty(body.error) else None
        return Answer(failure=f"http_{status}" if code in {None, "error"} else code)
    if body is None:
        return Answer()
    if status is None and body.usage is None and not _empty(body.error):
        return Answer(failure=_code(body.error))
    return _from_body(body)


def _from_body(body: Body) -> Answer:
    usage = body.usage
    if usage is not None and body.output:
        usage |= _tools(body)
    return Answer(model=body.model, usage=usage, dialect=_dialect(body))


def _tools(body: Body) -> dict[str, int]:
    """Uses of OpenAI's own tools: billed, and in no counter of `usage`."""
    uses = [item for item in body.output or () if item.type in _TOOLS or item.environment is not None]
    if not uses:
        return {}
    counts = Counter(_TOOLS[item.type] for item in uses if item.type in _TOOLS)
    containers = {item.container_id or (item.environment and item.environment.container_id) for item in uses} - {None}
    counts["containers"] = max(len(containers), min(counts["containers"], 1))
    told = body.tool_usage and body.tool_usage.web_search
    if told and told.num_requests is not None:  # it leaves out what is not billed, such as opening a page
        counts["web_search_calls"] = told.num_requests
    return counts


def _dialect(body: Body) -> Dialect | None:
    usage = body.usage
    if usage is None:
        return None
    if "prompt_tokens" in usage:
        return dialects.CHAT
    if body.type == "message":
        return _lifetimes(usage)
    details = usage.get("input_tokens_details")
    if body.object != "response" and isinstance(details, dict) and "image_tokens" in details:
        return dialects.IMAGES
    return dialects.RESPONSES if "input_tokens" in usage else _by_counters(usage)


def _by_counters(usage: dict[str, Any]) -> Dialect | None:
    found = next((dialect for dialect in dialects.NATIVE if speaks(dialect, usage)), None)
    return _lifetimes(usage) if found is dialects.ANTHROPIC else found


def _lifetimes(usage: dict[str, Any]) -> Dialect:
    if usage.get("cache_creation_input_tokens") is None and usage.get("cache_creation") is not None:
        return dialects.ANTHROPIC_SPLIT_ONLY
    return dialects.ANTHROPIC


def _native(response: Response) -> Answer:
    """Vertex AI and Gemini rows (Gemini, Claude, open models), and servers that put the answer straight here."""
    model = response.model or response.model_version
    usage = response.usage or response.usage_metadata
    if usage is None and response.token_count is not None:
        usage = {"tokenCount": response.token_count}
    if usage is not None:
        if searches := _searches(bytes(response.candidates)):
            usage["web_search_calls"] = searches
        return Answer(model=model, usage=usage, dialect=_by_counters(usage))
    answered = model or any(map(bytes, (response.candidates, response.prompt_feedback, response.embedding)))
    return Answer(model=model) if answered else Answer(failure="no_response")


def _searches(candidates: bytes) -> int:
    """Google searches that the answers were grounded on: billed, and in no counter.

    Inside a JSON string the quotes of this key would be escaped, so no answer's text can be taken for it.
    """
    if b'"webSearchQueries"' not in candidates:
        return 0
    try:
        found = msgspec.json.decode(candidates, type=list[_Candidate])
    except msgspec.DecodeError:
        return 1  # in another shape than we know: at least one, and so not free
    return sum(len(each.grounding.queries) for each in found if each.grounding)


def _anthropic(result: Result) -> Answer:
    if result.type not in {None, "succeeded"}:
        return Answer(failure=result.type if _empty(result.error) else _code(result.error))
    message = result.message
    usage = None if message is None else message.usage
    model = None if message is None else message.model
    return Answer(model=model, usage=usage, dialect=None if usage is None else _lifetimes(usage))


def _bedrock(output: ModelOutput) -> Answer:
    usage = output.usage
    if usage is None:
        usage = {
            "inputTextTokenCount": output.input_text_token_count,
            "results": [{"tokenCount": result.token_count} for result in output.results or ()],
            "prompt_token_count": output.prompt_token_count,
            "generation_token_count": output.generation_token_count,
        }
    return Answer(model=output.model, usage=usage, dialect=_by_counters(usage))


def _xai(result: BatchResult) -> Answer:
    body = result.response.chat_get_completion if result.response else None
    if body is not None:
        return _from_body(body)
    if result.response is not None:
        return Answer()
    return Answer(failure="no_response" if _empty(result.error) else _code(result.error))


def _prediction(prediction: Prediction) -> Answer:
    return _predictions([prediction])


def _predictions(predictions: list[Prediction]) -> Answer:
    statistics = [prediction.embeddings and prediction.embeddings.statistics for prediction in predictions]
    counts = [{"embeddings": {"statistics": {"token_count": found.token_count}}} for found in statistics if found]
    return Answer(usage={"predictions": counts} if counts else None, dialect=dialects.PREDICTIONS)


_READERS: tuple[tuple[str, Callable[[Any], Answer]], ...] = (
    ("response", _response),
    ("result", _anthropic),
    ("model_output", _bedrock),
    ("batch_result", _xai),
    ("predictions", _predictions),
    ("prediction", _prediction),
)
"""The key under which an envelope carries its answer, and who reads it."""


def _custom_id(line: Line) -> str | None:
    for value in (line.custom_id, line.key, line.record_id, line.batch_request_id):
        if value is not None:
            return str(value)
    labels = line.request.labels if line.request else None
    parts = [str(labels[name]) for name in sorted(labels) if _LABEL.fullmatch(name)] if labels else None
    return "".join(parts) if parts else None


def _empty(error: object) -> bool:
    """`null`, `""`, `{}` and `{"code": null, "message": null}` are all no error."""
    return not error or (isinstance(error, dict) and not any(cast("dict[str, object]", error).values()))


def _code(error: object) -> str:
    """The shortest true name of an error."""
    if isinstance(error, dict):
        found = cast("dict[str, object]", error)
        inner = found.get("error")
        if inner:
            return _code(inner)
        named = (found.get(name) for name in ("code", "errorCode", "status", "type"))
        return next((str(name)[:64] for name in named if name not in {None, ""}), "error")
    text = str(error)
    return text if _SLUG.fullmatch(text) else "error"


def _status_code(status: str) -> str:
    """From `Bad Request: {"error": {"code": 400, …, "status": "INVALID_ARGUMENT"}}` and the like."""
    matches = (pattern.search(status) for pattern in _STATUS)
    head = status.partition(":")[0].strip().lower().replace(" ", "_")
    return next((match[1] for match in matches if match), head if _SLUG.fullmatch(head) else "error")
