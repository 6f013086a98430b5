"""OpenAI chat requests as Anthropic's."""

import pytest

from batchmeter_translate.claude_request import claude_request
from batchmeter_translate.untranslatable import Notes, UntranslatableError

HI = [{"role": "user", "content": "hi"}]


def text(words):
    return {"type": "text", "text": words}


def translated(**body):
    return claude_request({"messages": HI, **body}, Notes())


def test_the_least():
    assert translated() == {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [text("hi")]}],
    }


def test_a_conversation_with_tools():
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        {"role": "system", "content": "be kind"},
        *HI,
        {"role": "assistant", "content": "wait", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "42"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBOR"}}]},
    ]
    schema = {"type": "object", "$schema": "x", "properties": {"x": {"type": "integer"}}, "additionalProperties": False}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    made = translated(messages=messages, tools=[tool], tool_choice="required", parallel_tool_calls=False)
    assert made["system"] == [text("be kind")]
    assert made["messages"] == [
        {"role": "user", "content": [text("hi")]},
        {
            "role": "assistant",
            "content": [text("wait"), {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [text("42")]},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}},
            ],
        },
    ]
    assert made["tools"] == [
        {"name": "f", "input_schema": {"type": "object", "properties": {"x": {"type": "integer"}}}}
    ]
    assert made["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


def test_settings():
    made = translated(max_completion_tokens=9, temperature=0.5, stop="END", seed=1)
    assert (made["max_tokens"], made["temperature"], made["stop_sequences"]) == (9, 0.5, ["END"])
    thinking = translated(max_tokens=100, reasoning_effort="low")
    assert (thinking["max_tokens"], thinking["thinking"]) == (1124, {"type": "enabled", "budget_tokens": 1024})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"stream": True}, "stream"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"temprature": 1}, "temprature"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ],
)
def test_refused(body, param):
    with pytest.raises(UntranslatableError) as caught:
        translated(**body)
    assert caught.value.param == param
