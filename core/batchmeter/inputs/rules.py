"""The rules of batch input files: what a provider accepts, and what is wrong with one request, in OpenAI's codes.

A line that strict, typed decoding refused is read as JSON where any reader would take it; else it is said why not.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from batchmeter.errors import InvalidInputError, Problem
from batchmeter.input_limits import REQUIRED, InputLimits

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of msgspec; the last two are no DecodeErrors."""

_MARK = b"\xef\xbb\xbf"
_MARKED = "the file starts with a byte order mark; save it as UTF-8 without one"
_SIGNATURES = {
    b"\xff\xfe": "the file is UTF-16; save it as UTF-8",
    b"\xfe\xff": "the file is UTF-16; save it as UTF-8",
    b"\x1f\x8b": "the file is gzipped; unpack it",
    b"PK\x03\x04": "the file is a zip archive; unpack it",
    b"[": "the file is a JSON array; write one request per line (JSONL), without brackets and commas",
}
_SPREAD = "part of a JSON text spread over several lines; write each request on one line (JSONL)"
_FRAGMENTS = frozenset({b"{", b"}", b"[", b"]", b"},", b"],"})


@dataclass(slots=True)
class Reading:
    """One line, read tolerantly."""

    request: dict[str, Any] | None = None
    reason: str = ""
    """Why there is no request."""
    whole_file: bool = False
    """The reason holds for every line: the file is of another kind."""
    oddities: list[str] = field(default_factory=list[str])
    """Oddities that strict readers would refuse."""


def read(line: bytes, *, first: bool) -> Reading:
    """`first`: the line starts the file, whose signature may say what it really is."""
    found = Reading()
    try:
        parsed: object = json.loads(line.decode(), parse_constant=lambda name: _constant(name, found))
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8; save the file as UTF-8"
        found.reason = where
    except RecursionError:
        found.reason = "nested too deeply"
    except ValueError as error:
        found.reason = _SPREAD if line.strip() in _FRAGMENTS else f"not JSON: {error}"
    else:
        if isinstance(parsed, dict):
            found.request = cast("dict[str, Any]", parsed)
            _look_for_surrogates(found)
        else:
            found.reason = "not a JSON object; write one request per line"
    if first and found.request is None:
        _look_at_start(line, found)
    return found


def _look_at_start(line: bytes, found: Reading) -> None:
    if line.startswith(_MARK):
        found.reason = _MARKED
    elif known := next((reason for start, reason in _SIGNATURES.items() if line.startswith(start)), None):
        found.reason = known
        found.whole_file = True
    elif line.strip() in _FRAGMENTS:
        found.whole_file = True


def _constant(name: str, found: Reading) -> float:
    found.oddities.append(f"{name} is not JSON, though some readers take it; send null or a number")
    return float(name)


def _look_for_surrogates(found: Reading) -> None:
    """Half a character, escaped: Python's reader takes it, most others do not."""
    try:
        json.dumps(found.request, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        found.oddities.append("a lone surrogate escape (half a character, such as \\ud83d); many readers refuse it")


@dataclass(frozen=True, slots=True)
class InputSummary:
    """A file's contents, and its problems."""

    bytes: int
    lines: int
    """Requests: blank lines do not count."""
    models: tuple[str, ...]
    endpoint: str | None
    problems: tuple[Problem, ...]
    """The first 20 reasons for which the provider would refuse the file."""
    more: int = 0
    """How many problems there are beyond `problems`."""
    warnings: tuple[Problem, ...] = ()
    """The first 20 oddities: accepted, though not by every JSON reader."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def check(self, source: str) -> None:
        """Raises InvalidInputError, naming `source`, when there are problems."""
        if self.problems:
            raise InvalidInputError(source, self.problems, self.more)


def is_embeddings(endpoint: str | None) -> bool:
    return endpoint in ("/v1/embeddings", "/embeddings")


@dataclass(slots=True)
class Fault:
    """A problem without its place."""

    code: str
    message: str
    param: str | None = None


@dataclass(slots=True)
class Facts:
    """Facts that earlier lines settled."""

    limits: InputLimits
    endpoint: str | None
    ids: dict[str, int] = field(default_factory=dict[str, int])
    """custom_id -> line."""
    models: dict[str | None, None] = field(default_factory=dict[str | None, None])
    """In the order they came; None: a line may do without."""
    inputs: int = 0
    """Embedding inputs so far."""


def faults(request: Mapping[str, Any], facts: Facts) -> Iterator[Fault]:
    """Everything wrong with the request; what is right about it is added to `seen`."""
    yield from _custom_id(request, facts)
    yield from _target(request, facts)
    body = request.get("body")
    if isinstance(body, dict):
        yield from _body(cast("dict[str, Any]", body), facts)
    else:
        yield Fault("missing_required_parameter", "no `body` object: the request to send", "body")


def count_inputs(value: object) -> int:
    """Embedding inputs: a text or a list of token numbers is one, a list of either is many."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    return len(items) if items and isinstance(items[0], str | list) else 1


def _custom_id(request: Mapping[str, Any], facts: Facts) -> Iterator[Fault]:
    custom_id = request.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        got = "no `custom_id`" if custom_id in (None, "") else f"`custom_id` is {custom_id!r}"
        yield Fault("missing_required_parameter", f"{got}; give each line a string of its own", "custom_id")
    elif custom_id in facts.ids:
        first = facts.ids[custom_id]
        yield Fault("duplicate_custom_id", f"custom_id already used on line {first}; make it unique", "custom_id")
    elif len(custom_id) < facts.limits.shortest_custom_id:
        message = f"`custom_id` is shorter than {facts.limits.shortest_custom_id} characters; make it longer"
        yield Fault("invalid_custom_id", message, "custom_id")


def _target(request: Mapping[str, Any], facts: Facts) -> Iterator[Fault]:
    if (method := request.get("method")) != "POST":
        yield Fault("invalid_method", f'`method` is {method!r}; it has to be "POST"', "method")
    url = request.get("url")
    known = facts.limits.endpoints
    if not isinstance(url, str) or (known is not None and url not in known):
        accepted = ", ".join(sorted(known)) if known else "a path such as /v1/chat/completions"
        yield Fault("invalid_url", f"`url` is {url!r}; it has to be one of: {accepted}", "url")
    elif facts.endpoint is None:
        facts.endpoint = url
    elif url != facts.endpoint:
        message = f"`url` is {url!r}, the batch's endpoint {facts.endpoint!r}; make one file per endpoint"
        yield Fault("url_mismatch", message, "url")


def _body(body: Mapping[str, Any], facts: Facts) -> Iterator[Fault]:
    for name in REQUIRED.get(facts.endpoint or "", ()):
        if body.get(name) is None:
            yield Fault("missing_required_parameter", f"`body` has no `{name}`", f"body.{name}")
    for name in sorted(facts.limits.refused & body.keys()):
        message = f"`body` has `{name}`, which this provider refuses in a batch; leave it out"
        yield Fault("unsupported_parameter", message, f"body.{name}")
    if body.get("stream"):
        yield Fault("streaming_unsupported", "`stream` cannot be true in a batch; leave it out", "body.stream")
    yield from _model(body.get("model"), facts)
    if is_embeddings(facts.endpoint):
        yield from _embedded(body.get("input"))
        facts.inputs += count_inputs(body.get("input"))


def _embedded(value: object) -> Iterator[Fault]:
    if value is not None and not isinstance(value, str | list):
        message = f"`input` is {value!r}; it has to be a text, or a list of texts or token numbers"
        yield Fault("invalid_type", message, "body.input")


def _model(model: object, facts: Facts) -> Iterator[Fault]:
    first = next(iter(facts.models), None)
    if model is not None and (not isinstance(model, str) or not model):
        yield Fault("invalid_type", f"`model` is {model!r}; it has to be a model's name", "body.model")
    elif facts.limits.one_model and facts.models and model not in facts.models and model is not None:
        message = f"`model` is {model!r}, on earlier lines {first!r}; make one file per model"
        yield Fault("mismatched_model", message, "body.model")
    elif model is not None or "model" not in REQUIRED.get(facts.endpoint or "", ()):
        facts.models[model] = None
