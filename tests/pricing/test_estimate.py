"""estimate: nothing of a request is left out; what it does not say is unknown, not small; `upper` is a bound or None."""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchmeter.inputs.estimate import Estimate, History, InputSizes, ModelEstimate, estimate
from batchmeter.inputs.sizes import SizeCounter, count_sizes
from batchmeter.pricebook.book import PriceBook
from batchmeter_sandbox.tokens import Dice, spent

CHAT = "/v1/chat/completions"
Of = Callable[..., ModelEstimate]


def line(url: str = CHAT, **body: Any) -> bytes:
    request = {"custom_id": "r", "method": "POST", "url": url, "body": {"model": "gpt-4.1", **body}}
    return json.dumps(request, ensure_ascii=False).encode() + b"\n"


@pytest.fixture
def of(book: PriceBook) -> Of:
    """`of(body)`: what is known of one request."""

    def made(url: str = CHAT, *, history: Mapping[str, History] | None = None, **body: Any) -> ModelEstimate:
        lines = [b"\xef\xbb\xbf" + line(url, **body), b"[]\n", b"{cut off"]
        found = estimate(count_sizes(lines, book.boundaries), provider="openai", prices=book, history=history)
        assert found.requests == 1
        return found.models["gpt-4.1"]

    return made


def whole(book: PriceBook, *lines: bytes, at: str = "2026-11-10", provider: str = "openai") -> Estimate:
    sizes = count_sizes(lines, book.boundaries)
    return estimate(sizes, provider=provider, prices=book, at=dt.date.fromisoformat(at))


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_long_line_is_counted_whole(of: Of) -> None:
    assert of(messages=user("abcd" * 750_000)).input_tokens == 750_005
    assert of(messages=user("abcd" * 75_000) * 10).input_tokens == 750_050


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
def test_prompts_sent_as_tokens_are_counted(of: Of, sent: list[object], tokens: int) -> None:
    assert of("/v1/embeddings", input=sent).input_tokens == tokens
    assert of("/v1/completions", prompt=sent).input_tokens == tokens


@pytest.mark.parametrize(
    ("text", "likely", "most"),
    [
        ("four score and seven years ago " * 100, 775, 1550),
        ("Vier Fälle, über fünf Jahre verteilt " * 100, 1000, 2000),
        ("質問に答えてください。" * 100, 1650, 1650),
        ("3141592653589793 2384626433832795 " * 100, 850, 3400),
        ("bmFtZWQgYXJlIG5vdCB0aGUgdGhpbmdz" * 100, 800, 3200),
        ('{"id": 10034, "x": [1.25, 3.5, 99]}' * 100, 875, 3500),
        ("🌊🐚" * 100, 400, 800),
    ],
)
def test_text_counts_by_a_stated_bound(of: Of, text: str, likely: int, most: int) -> None:
    found = of(messages=[{"content": text}], max_tokens=1)
    assert found.max_input_tokens is not None
    assert (found.input_tokens - 4, found.max_input_tokens - 48) == (likely, most)


@pytest.mark.parametrize(
    ("body", "most"),
    [
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": 10, "n": None}, 10),
        ({"max_tokens": 10, "n": 2, "best_of": 5}, 50),
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
    of: Of, body: dict[str, object], most: int | None
) -> None:
    found = of("/v1/completions", **body)
    assert found.max_output_tokens == most
    assert found.unlimited_requests == (most is None)


def parts(*kinds: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, *kinds]}]}


@pytest.mark.parametrize(
    ("reason", "url", "body"),
    [
        ("images", CHAT, parts({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})),
        ("files", CHAT, parts({"type": "file", "file": {"file_id": "file-abc"}})),
        ("audio", CHAT, parts({"type": "input_audio", "input_audio": {"data": "aaaa", "format": "wav"}})),
        ("audio", CHAT, {"messages": [], "modalities": ["text", "audio"]}),
        ("other_content", CHAT, parts({"type": "hologram"})),
        ("searches", CHAT, {"messages": [], "web_search_options": {}}),
        (
            "images",
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        ),
        ("files", "/v1/responses", {"input": [{"type": "input_file", "file_id": "f"}]}),
        ("stored_conversation", "/v1/responses", {"input": "x", "previous_response_id": "resp_1"}),
        ("stored_conversation", "/v1/responses", {"input": "x", "conversation": "conv_1"}),
        ("stored_conversation", "/v1/responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        ("stored_prompt", "/v1/responses", {"prompt": {"id": "pmpt_1"}}),
        ("searches", "/v1/responses", {"input": "x", "tools": [{"type": "web_search"}]}),
        ("tools", "/v1/responses", {"input": "x", "tools": [{"type": "file_search"}]}),
        ("tools", "/v1/responses", {"input": "x", "tools": [{"type": "function"}, {"type": "code_interpreter"}]}),
        ("images", "/v1/images/generations", {"prompt": "a tide"}),
    ],
)
def test_what_text_does_not_tell_is_unknown_by_name(
    book: PriceBook, of: Of, reason: str, url: str, body: dict[str, Any]
) -> None:
    limited = {"max_tokens": 5, "max_output_tokens": 5, **body}
    found = of(url, **limited)
    assert (found.upper, found.expected, found.max_input_tokens) == (None, None, None)
    assert any(text.startswith(f"{reason}: gpt-4.1: 1 requests ") for text in whole(book, line(url, **limited)).unknown)


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"type": "function", "id": "c"}]}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
    ],
)
def test_the_callers_own_tools_and_schemas_are_text(of: Of, body: dict[str, Any]) -> None:
    plain = of(messages=user("hi"), max_tokens=5)
    found = of(**{"messages": user("hi"), "max_tokens": 5, **body})
    assert found.upper is not None
    assert found.input_tokens > plain.input_tokens - 3
    assert found.max_input_tokens is not None


def test_history_tells_what_goes_in_besides_text(of: Of) -> None:
    history = {"gpt-4.1": History(10, 1_000, 20_000)}
    found = of(history=history, **parts({"type": "image_url"}))
    assert found.expected == (2_000 * Decimal(1) + 100 * Decimal(4)) / 1_000_000
    assert of(history=history, messages=user("x"), web_search_options={}).expected is None  # a fee is no token


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text(max_size=60), min_size=1, max_size=3),
    st.integers(1, 400),
    st.integers(1, 3),
    st.integers(0, 10**6),
)
def test_no_answer_costs_more_than_at_most(texts: list[str], limit: int, choices: int, seed: int) -> None:
    body = {"model": "gpt-5-mini", "messages": [user(text)[0] for text in texts], "max_tokens": limit, "n": choices}
    upper = whole(BOOK, line(**body)).upper
    tokens = spent(CHAT, body, Dice(str(seed), "r"))
    real = (tokens.input * Decimal("0.125") + tokens.output * Decimal(1)) / 1_000_000
    assert upper is not None
    assert real <= upper


BOOK = PriceBook()


def test_at_most_is_at_the_dearer_price_of_today_and_tomorrow(book: PriceBook) -> None:
    request = line(model="gemini-4-carbon", messages=user("hi"), max_tokens=1_000_000)
    today, eve, later = (whole(book, request, at=f"2026-{at}", provider="gemini") for at in ("11-20", "11-30", "12-01"))
    assert today.upper is not None
    assert eve.upper == later.upper == 2 * today.upper
    assert (today.flags, eve.flags, later.flags) == ((), ("price_change_ahead",), ())


def test_input_counts_as_written_to_a_cache_where_that_costs_more(book: PriceBook) -> None:
    body = {"model": "claude-opus-4-8", "max_tokens": 0}
    plain = whole(book, line(messages=user("hi there"), **body), provider="anthropic").upper
    marked = whole(
        book,
        line(
            messages=[
                {"role": "user", "content": [{"type": "text", "text": "hi there", "cache_control": {"ttl": "1h"}}]}
            ],
            **body,
        ),
        provider="anthropic",
    ).upper
    tokens = 16 + 32 + 4 + 8  # a message, a request, the role, the text
    assert plain == tokens * Decimal("3.125") / 1_000_000
    assert marked is not None
    assert marked > plain * Decimal("1.5")


def test_sizes_take_lines_as_they_come_and_stay_small(book: PriceBook) -> None:
    counter = SizeCounter(book.boundaries)
    for number in range(3_000):
        length = (10, 150_000, 300_000)[number % 3] if number < 3 else 10
        counter.add(line(model=f"model-{number % 200}", messages=user("a b " * length), max_tokens=10))
    sizes = counter.sizes()
    text = sizes.to_json()
    assert len(text) < 2_000
    assert InputSizes.from_json(text) == sizes
    assert sizes.requests == 3_000
    assert sizes.other > 0
    found = estimate(sizes, provider="openai", prices=book)
    assert found.upper is None
    assert any(reason.startswith("too_many_models: ") for reason in found.unknown)


def test_sizes_of_one_model_tell_all_that_an_estimate_needs(book: PriceBook) -> None:
    lines = [line(messages=user("a b " * 100), max_tokens=10), line(messages=user("x"), max_tokens=5, n=2)]
    sizes = InputSizes.from_json(count_sizes(lines, book.boundaries).to_json())
    assert len(sizes.to_json()) < 200
    assert estimate(sizes, provider="openai", prices=book) == whole(
        book, *lines, at=str(dt.datetime.now(dt.UTC).date())
    )
