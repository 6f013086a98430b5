"""Objects that people have in memory become lines of an input file."""

import json
from collections.abc import Iterator
from typing import Any

import openai.types.chat
import pytest

import batchmeter
from batchmeter.inputs import InputChecker
from batchmeter.running.requests import Lines

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


def lines(requests: Any, endpoint: str = CHAT, **settings: Any) -> list[dict[str, Any]]:
    made = Lines(endpoint, "gpt-5-mini", **settings)
    content = list(made.of(requests))
    rows = [json.loads(line) for line in content]
    assert [row["custom_id"] for row in rows] == made.ids
    checker = InputChecker(endpoint)
    for line in content:
        checker.feed(line)
    checker.close().check("the test's lines")
    return rows


def bodies(requests: Any, endpoint: str = CHAT) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row["body"].items() if name != "model"} for row in lines(requests, endpoint)
    ]


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (CHAT, {"messages": HELLO}),
        ("/v1/responses", {"input": "hello"}),
        ("/v1/embeddings", {"input": "hello"}),
        ("/v1/moderations", {"input": "hello"}),
        ("/v1/completions", {"prompt": "hello"}),
    ],
)
def test_a_text(endpoint: str, body: dict[str, Any]) -> None:
    assert bodies(["hello"], endpoint) == [body]


def test_every_shape_of_a_chat() -> None:
    shapes = [
        "hello",
        HELLO,
        {"messages": HELLO},
        {"prompt": "hello"},
        {"custom_id": "a", "messages": HELLO},
        {"custom_id": "b", "body": {"messages": HELLO}},
        {"custom_id": "c", "method": "POST", "url": CHAT, "body": {"messages": HELLO}},
        {"custom_id": "d", "body": "hello"},
    ]
    rows = lines(shapes)
    assert [row["body"]["messages"] for row in rows] == [HELLO] * len(shapes)
    assert [row["custom_id"] for row in rows] == [*(f"request-{n}" for n in range(4)), "a", "b", "c", "d"]


def test_a_system_prompt_beside_a_prompt() -> None:
    (body,) = bodies([{"system": "be brief", "prompt": "hello", "temperature": 0}])
    assert body == {"messages": [{"role": "system", "content": "be brief"}, *HELLO], "temperature": 0}


def test_a_dict_has_the_custom_ids() -> None:
    assert {row["custom_id"]: row["body"]["messages"] for row in lines({"x": "hello", "y": HELLO})} == {
        "x": HELLO,
        "y": HELLO,
    }


def test_what_all_share_gives_way_to_what_one_says() -> None:
    rows = lines([{"messages": HELLO}, {"messages": HELLO, "temperature": 1}], body={"temperature": 0, "seed": 7})
    assert [row["body"]["temperature"] for row in rows] == [0, 1]
    assert [row["body"]["seed"] for row in rows] == [7, 7]
    assert [row["body"]["model"] for row in rows] == ["gpt-5-mini"] * 2


def test_a_generator_is_read_as_it_comes() -> None:
    asked: list[int] = []

    def questions() -> Iterator[str]:
        for number in range(3):
            asked.append(number)
            yield f"question {number}"

    made = Lines(CHAT, "m").of(questions())
    next(made)
    assert asked == [0]


def test_pydantic_and_openai_s_own_messages() -> None:
    message = openai.types.chat.ChatCompletionMessage(role="assistant", content="hi")
    (body,) = bodies([[*HELLO, message]])
    assert body["messages"][1] == {"role": "assistant", "content": "hi"}


def frames(columns: dict[str, list[Any]]) -> list[Any]:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    return [pandas.DataFrame(columns), polars.DataFrame(columns)]


def test_a_frame_of_texts() -> None:
    for frame in frames({"question": ["hello", "hello"]}):
        assert bodies(frame) == [{"messages": HELLO}] * 2
    for frame in frames({"custom_id": [7, 8], "text": ["hello", "hello"]}):
        assert [row["custom_id"] for row in lines(frame)] == ["7", "8"]
        assert bodies(frame) == [{"messages": HELLO}] * 2


def test_a_frame_of_body_fields_without_its_empty_cells() -> None:
    columns = {"custom_id": ["a", "b"], "prompt": ["hello", "hello"], "system": [None, "be brief"], "seed": [1.5, None]}
    for frame in frames(columns):
        assert bodies(frame) == [
            {"messages": HELLO, "seed": 1.5},
            {"messages": [{"role": "system", "content": "be brief"}, *HELLO]},
        ]


def test_a_frame_of_messages() -> None:
    for frame in frames({"custom_id": ["a"], "messages": [HELLO]}):
        assert bodies(frame) == [{"messages": HELLO}]


def test_pandas_own_kinds_of_nothing_and_numbers() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "prompt": ["hello", "hello"],
            "max_completion_tokens": pandas.array([5, pandas.NA], dtype="Int64"),
            "when": [pandas.NaT, pandas.NaT],
        }
    )
    assert bodies(frame) == [{"messages": HELLO, "max_completion_tokens": 5}, {"messages": HELLO}]


@pytest.mark.parametrize(
    ("requests", "told"),
    [
        ("hello", "put it in a list"),
        (7, "takes a list, a generator, a dict or a data frame, not int"),
        (["fine", 7], "request number 1 is int"),
        ([{"messages": HELLO, "user": {1, 2}}], "'request-0' \\(number 0\\) is no JSON: set cannot"),
    ],
)
def test_what_is_no_request_is_told(requests: Any, told: str) -> None:
    with pytest.raises(batchmeter.BatchmeterError, match=told):
        list(Lines(CHAT, "m").of(requests))
