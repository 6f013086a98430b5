"""Metering any file ends in a result that serialises, or in one error of ours."""

import gzip
import json
import os
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchmeter import meter
from batchmeter.errors import BatchmeterError
from batchmeter.metering import Metering

from . import lines_of
from .prices import FLAT

EXAMPLES = int(os.environ.get("BATCHMETER_FUZZ_EXAMPLES", "150"))
PROVIDERS = ("openai", "azure", "anthropic", "vertex_ai", "gemini", "bedrock", "mistral", "groq", "unheard_of")
ODD = st.sampled_from(
    [None, True, -1, 0, 2**63, 10**30, 10**400, 0.5, 1e308, float("nan"), float("inf"), "", "\udcff", "\ud83d", "\0", "\x1b[2J",
    "9" * 5000, "é" * 70, "1e999999999", "-0", [], {}, [[]], {"": {}}, {"\udcff": "\udcff"}, {"code": []}, [None] * 5],
)  # fmt: skip
JUNK = ODD | st.recursive(
    st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 1},
    "cost": 0.25,
}
ERROR = {"error": {"code": "too_long", "message": "m", "type": "t", "status": "INVALID_ARGUMENT"}}
MESSAGE = {"type": "message", "model": "m", "content": [], "usage": {"input_tokens": 7, "output_tokens": 3}}
GEMINI = {"modelVersion": "m", "candidates": [], "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2}}
LINES: list[Any] = [
    lines_of.openai("m", USAGE, choices=[{"message": {"content": "x"}}]),
    lines_of.openai("m", {"prompt_tokens": 3, "total_tokens": 3}, object="list", data=[{"embedding": [0.5, 1.0]}]),
    lines_of.openai_failed(),
    {"custom_id": "a", "response": {"status_code": 400, "body": ERROR}, "error": None},
    {"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE}},
    {"custom_id": "a", "result": {"type": "errored", "error": ERROR}},
    {"key": "a", "request": {}, "response": GEMINI, "status": ""},
    {"recordId": "a", "modelOutput": MESSAGE, "modelInput": {}},
    {"recordId": "a", "error": {"errorCode": 400, "errorMessage": "m"}},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each member, and the root's own."""
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places(member, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = value.copy()
    copied[path[0]] = replaced(value[path[0]], path[1:], new)
    return copied


PLACES = [(line, path) for line in LINES for path in places(line)]


@st.composite
def files(draw) -> bytes:
    lines = []
    for line, path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        text = json.dumps(replaced(line, path, draw(JUNK)), ensure_ascii=draw(st.booleans()))
        lines.append(text.encode("utf-8", "surrogatepass"))
    data = b"\n".join(lines)
    if draw(st.integers(0, 5)) == 0:
        data = gzip.compress(data)
    if draw(st.integers(0, 2)) == 0:
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.binary(max_size=5)) + data[place + draw(st.integers(0, 4)) :]
    return data


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    derandomize=EXAMPLES < 1000,
)
@given(files() | st.binary(max_size=200), st.sampled_from(PROVIDERS))
def test_any_bytes_end_in_a_result_or_one_error_of_ours(data: bytes, provider: str) -> None:
    try:
        found = meter([data], provider=provider, prices=FLAT)
    except BatchmeterError as error:
        str(error).encode()
        return
    written = found.model_dump_json()
    assert Metering.model_validate_json(written).model_dump_json() == written
    json.dumps(found.model_dump(mode="json"), allow_nan=False).encode()
