"""Embeddings are cut out of a line, and nothing else is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmeter import meter
from batchmeter.metering.lines import MANY, without_vectors

from . import lines_of
from .prices import FLAT

NUMBERS = [0.25, -1e-05, 3] * 2_000


def emptied(value: Any) -> Any:
    """The same with every all-number list under `embedding` (or its `values`) empty."""
    if isinstance(value, list):
        return [emptied(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: []
        if key.endswith("embedding") and _numbers(item)
        else _values(emptied(item))
        if key == "embedding"
        else emptied(item)
        for key, item in value.items()
    }


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(item, str | list | dict) for item in value)


def _values(value: Any) -> Any:
    if isinstance(value, dict) and next(iter(value), None) == "values" and _numbers(value["values"]):
        return {**value, "values": []}
    return value


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
@pytest.mark.parametrize(
    "value",
    [
        {"data": [{"embedding": NUMBERS, "index": 0}, {"embedding": NUMBERS, "index": 1}], "usage": {"n": 1}},
        {"embedding": {"values": NUMBERS}, "usage": 1},
        {"embedding": "base64", "x": [1]},
        {"embedding": [[1, 2], [3]], "x": 1},
        {"embedding": ["1", 2]},
        {"embedding": [{"a": 1}], "b": [1]},
        {"embedding": None, "values": [1]},
        {"embedding": {"usage": [1], "values": [2]}},
        {"text": '"embedding": [1, 2] and "embedding":[3', "usage": 1},
        {'a "embedding': [1, 2]},
        {"embedding": []},
    ],
)
def test_only_numbers_go(value: Any, separators: tuple[str, str]):
    line = json.dumps(value, separators=separators).encode()

    assert json.loads(without_vectors(line)) == emptied(value)


@given(
    st.recursive(
        st.one_of(st.integers(), st.text(alphabet='embding"[]{}:, \\1', max_size=20), st.none()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.sampled_from(["embedding", "values", "usage", '"embedding', "x"]), inner, max_size=4),
        ),
        max_leaves=12,
    )
)
def test_any_json_keeps_all_but_numbers(value: Any):
    line = json.dumps({"a": value}, separators=(",", ":")).encode()

    assert emptied(json.loads(without_vectors(line))) == emptied({"a": value})


def test_an_embeddings_line_is_metered():
    body = {"data": [{"embedding": NUMBERS}] * 3, "object": "list"}
    line = lines_of.dump(lines_of.openai("m", {"prompt_tokens": 8, "total_tokens": 8}, **body))

    assert len(line) > MANY
    assert meter([line], prices=FLAT).usage.input_tokens == 8


def test_a_line_that_breaks_off_inside_a_vector_is_malformed():
    line = lines_of.dump(lines_of.openai("m", {"prompt_tokens": 8}, data=[{"embedding": NUMBERS}]))

    assert meter([line[: len(line) // 2]], prices=FLAT).lines.malformed == 1
