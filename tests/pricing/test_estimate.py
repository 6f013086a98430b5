"""estimate: nothing of a request is left out, and what it does not say is unknown, not small."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchmeter.estimate import ModelEstimate, estimate
from batchmeter.pricing.book import PriceBook


@pytest.fixture
def of(tmp_path: Path) -> Any:
    """`of(body)`: what is known of one request."""

    def made(url: str = "/v1/chat/completions", **body: Any) -> ModelEstimate:
        path = tmp_path / "requests.jsonl"
        line = {"custom_id": "r", "method": "POST", "url": url, "body": {"model": "gpt-4.1", **body}}
        path.write_text("\ufeff" + json.dumps(line) + "\n[]\n{cut off")
        found = estimate(path, provider="openai", prices=PriceBook())
        assert found.requests == 1
        return found.models["gpt-4.1"]

    return made


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_long_line_is_counted_whole(of: Any) -> None:
    assert of(messages=said("abcd" * 750_000)).input_tokens == 750_005
    assert of(messages=said("abcd" * 75_000) * 10).input_tokens == 750_050


@pytest.mark.parametrize(
    ("sent", "tokens"),
    [
        (list(range(1000)), 1000),
        ([list(range(1000)), [1, 2, 3]], 1003),
        ("abcd" * 1000, 1004),
        (["abcd" * 1000, "abcd"], 1009),
        ([True, False], 8),
    ],
)
def test_prompts_sent_as_tokens_are_counted(of: Any, sent: list[object], tokens: int) -> None:
    assert of("/v1/embeddings", input=sent).input_tokens == tokens
    assert of("/v1/completions", prompt=sent).input_tokens == tokens


@pytest.mark.parametrize(
    ("body", "most"),
    [
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": 10, "n": None}, 10),
        ({"max_completion_tokens": None, "max_tokens": 7}, 7),
        ({"max_tokens": 10, "prompt": ["a", "b"]}, 20),
        ({"max_tokens": 10, "prompt": [1, 2]}, 10),
        ({"max_tokens": 10, "prompt": []}, 10),
        ({"max_tokens": 0}, 0),
        ({}, None),
        ({"max_tokens": 10, "n": "two"}, None),
        ({"max_tokens": 10, "n": [1]}, None),
        ({"max_tokens": 10, "n": 0}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": "10"}, None),
        ({"max_tokens": -10}, None),
    ],
)
def test_the_most_output_is_over_all_choices_and_unknown_where_it_is_odd(
    of: Any, body: dict[str, object], most: int | None
) -> None:
    found = of("/v1/completions", **body)
    assert found.max_output_tokens == most
    assert found.unlimited_requests == (most is None)
