"""OpenAI chat requests as Anthropic's, by the rules of each model and of each place."""

import json

import pytest
from pydantic import ConfigDict, TypeAdapter
from tests.later import Later

from batchmeter_translate.claude_messages import ClaudeTarget
from batchmeter_translate.claude_request import claude_request
from batchmeter_translate.untranslatable import Notes, UntranslatableError

message_create_params = Later("anthropic.types.message_create_params")

HI = [{"role": "user", "content": "hi"}]
CALL = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
OLD, NEW = "claude-sonnet-4-5-20250929", "claude-opus-5-5"
HERE = ClaudeTarget(names_model=True)
VERTEX = ClaudeTarget(version="vertex-2023-10-16", importer=True)


def text(words):
    return {"type": "text", "text": words}


def tool(**schema):
    return {"type": "function", "function": {"name": "f", "parameters": {"type": "object", **schema}}}


def schema_of(**schema):
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}


def translated(model=OLD, target=VERTEX, notes=None, **body):
    return claude_request({"messages": HI, **body}, notes or Notes(), target, model)


def test_the_least():
    assert translated() == {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [text("hi")]}],
    }
    assert translated(NEW, HERE) == {
        "model": NEW,
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [text("hi")]}],
    }


def test_a_conversation_with_tools():
    messages = [
        {"role": "system", "content": "be kind"},
        *HI,
        {"role": "assistant", "content": "wait", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "t1", "content": "42"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBOR"}}]},
    ]
    given = tool(**{"$schema": "x", "properties": {"x": {"type": "integer"}}, "additionalProperties": False})
    asked = {"messages": messages, "tools": [given], "tool_choice": "required", "parallel_tool_calls": False}
    made = translated(**asked)
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
    assert translated(target=HERE, **asked)["tools"][0]["input_schema"]["additionalProperties"] is False


def test_an_importers_rules_are_a_choice():
    empty = {**CALL, "function": {"name": "f", "arguments": "{}"}}
    messages = [*HI, {"role": "assistant", "tool_calls": [empty]}, {"role": "tool", "tool_call_id": "t1"}]
    made = translated(target=HERE, messages=messages)
    assert made["messages"][1]["content"] == [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]
    referring = tool(properties={"x": {"$ref": "#/$defs/X"}}, **{"$defs": {"X": {"type": "string"}}})
    assert translated(target=HERE, tools=[referring])["tools"][0]["input_schema"]["$defs"] == {"X": {"type": "string"}}
    for refused in ({"messages": messages}, {"tools": [referring]}):
        with pytest.raises(UntranslatableError):
            translated(**refused)


def test_settings():
    made = translated(max_completion_tokens=9, temperature=0.5, stop="END", seed=1, user="u-1")
    assert (made["max_tokens"], made["temperature"], made["stop_sequences"]) == (9, 0.5, ["END"])
    assert made["metadata"] == {"user_id": "u-1"}
    thinking = translated(max_tokens=100, reasoning_effort="low")
    assert (thinking["max_tokens"], thinking["thinking"]) == (1124, {"type": "enabled", "budget_tokens": 1024})


BUDGET = {"type": "enabled", "budget_tokens": 1024}
ADAPTIVE = {"type": "adaptive"}
MODELS = {
    "claude-3-5-haiku-20241022": (BUDGET, None, True),
    "claude-3-7-sonnet@20250219": (BUDGET, None, True),
    "anthropic.claude-sonnet-4-20250514-v1:0": (BUDGET, None, True),
    "claude-opus-4-1": (BUDGET, None, True),
    "claude-sonnet-4-5-20250929": (BUDGET, None, True),
    "claude-haiku-4-5@20251001": (BUDGET, None, True),
    "claude-opus-4-5": (BUDGET, None, True),
    "claude-opus-4-6": (ADAPTIVE, "low", True),
    "us.anthropic.claude-sonnet-4-6-v1": (ADAPTIVE, "low", True),
    "claude-opus-4-7": (ADAPTIVE, "low", False),
    "claude-opus-4-8": (ADAPTIVE, "low", False),
    "claude-sonnet-5": (ADAPTIVE, "low", False),
    "claude-opus-5-5": (ADAPTIVE, "low", False),
    "claude-haiku-5-5": (ADAPTIVE, "low", False),
    "claude-fable-5-2": (ADAPTIVE, "low", False),
    "claude-mythos-preview": (ADAPTIVE, "low", False),
    "claude-of-next-year-6": (ADAPTIVE, "low", False),
}
"""Model -> thinking and effort for reasoning_effort "low", and whether it takes a temperature."""


@pytest.mark.parametrize("model", MODELS)
def test_each_model_is_told_what_it_takes(model):
    thinking, effort, samples = MODELS[model]
    made = translated(model, reasoning_effort="low")
    assert made["thinking"] == thinking
    assert made.get("output_config") == (effort and {"effort": effort})
    notes = Notes()
    assert translated(model, notes=notes, temperature=0.2).get("temperature") == (0.2 if samples else None)
    assert bool(notes.lines()) != samples


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        (NEW, "minimal", (ADAPTIVE, {"effort": "low"})),
        (NEW, "xhigh", (ADAPTIVE, {"effort": "xhigh"})),
        (NEW, "max", (ADAPTIVE, {"effort": "max"})),
        (NEW, "none", ({"type": "disabled"}, None)),
        ("claude-opus-4-6", "xhigh", (ADAPTIVE, {"effort": "high"})),
        ("claude-fable-5-2", "none", (None, None)),
        (OLD, "none", (None, None)),
    ],
)
def test_efforts(model, effort, expected):
    made = translated(model, reasoning_effort=effort)
    assert (made.get("thinking"), made.get("output_config")) == expected


def test_what_thinking_excludes_is_left_out_and_said():
    notes = Notes(line=1)
    made = translated(OLD, notes=notes, temperature=0.2, top_p=0.5, reasoning_effort="low")
    assert "temperature" not in made
    assert "top_p" not in made
    assert len(notes.lines()) == 2
    assert translated(OLD, temperature=1, top_p=0.99, reasoning_effort="low")["temperature"] == 1
    with pytest.raises(UntranslatableError, match="while it thinks"):
        translated(OLD, tools=[tool()], tool_choice="required", reasoning_effort="low")


def test_one_of_temperature_and_top_p_goes_to_models_that_take_one():
    made = translated(OLD, temperature=0.2, top_p=0.5)
    assert ("temperature" in made, "top_p" in made) == (True, False)
    made = translated("claude-3-5-haiku-20241022", temperature=0.2, top_p=0.5)
    assert ("temperature" in made, "top_p" in made) == (True, True)


def test_a_json_schema_is_closed():
    given = schema_of(
        type="object",
        properties={
            "name": {"type": "string", "minLength": 1, "format": "email"},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 3},
            "age": {"type": ["integer", "null"], "minimum": 0},
            "next": {"oneOf": [{"$ref": "#/definitions/N"}, {"type": "null"}]},
        },
        required=["name"],
        definitions={"N": {"type": "object", "properties": {"n": {"type": "number"}}}},
    )
    notes = Notes(line=1)
    made = translated(NEW, HERE, notes, response_format=given)["output_config"]["format"]
    inner = {"type": "object", "properties": {"n": {"type": "number"}}, "additionalProperties": False}
    assert made == {
        "type": "json_schema",
        "schema": {
            "$defs": {"N": inner},
            "type": "object",
            "properties": {
                "name": {"type": "string", "format": "email"},
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1},
                "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "next": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]},
            },
            "required": ["name"],
            "additionalProperties": False,
        },
    }
    assert {line.split("`")[1].rpartition(".")[2] for line in notes.lines()} == {"minLength", "maxItems", "minimum"}


@pytest.mark.parametrize(
    ("model", "body", "param"),
    [
        (OLD, {"n": 2}, "n"),
        (OLD, {"stream": True}, "stream"),
        (NEW, {"response_format": {"type": "json_object"}}, "response_format"),
        ("claude-3-5-haiku-20241022", {"response_format": schema_of(type="string")}, "response_format"),
        (NEW, {"response_format": schema_of(type="object")}, "response_format"),
        (NEW, {"response_format": schema_of(type="array", items={})}, "response_format"),
        (OLD, {"temprature": 1}, "temprature"),
        (OLD, {"temperature": 1.5}, "temperature"),
        (OLD, {"max_tokens": 0.5}, "max_tokens"),
        (OLD, {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages"),
        (OLD, {"messages": [{"role": "user", "content": ""}]}, "messages"),
        (NEW, {"messages": [*HI, {"role": "assistant", "content": "Once upon"}]}, "messages"),
        (OLD, {"tools": [{"type": "web_search"}]}, "tools"),
        (OLD, {"reasoning_effort": "huge"}, "reasoning_effort"),
        (OLD, {"modalities": ["audio"]}, "modalities"),
    ],
)
def test_refused(model, body, param):
    with pytest.raises(UntranslatableError) as caught:
        translated(model, **body)
    assert caught.value.param == param


def test_the_official_sdk_knows_every_field_that_is_sent():
    params = message_create_params.MessageCreateParamsNonStreaming
    messages = [{"role": "system", "content": "x"}, *HI, {"role": "assistant", "tool_calls": [CALL]}]
    messages.append({"role": "tool", "tool_call_id": "t1", "content": "42"})
    form = schema_of(type="object", properties={"a": {"type": "string"}})
    made = translated(
        NEW, HERE, messages=messages, tools=[tool()], tool_choice="auto", reasoning_effort="high", response_format=form
    )
    assert (
        made.keys()
        <= params.__annotations__.keys() | message_create_params.MessageCreateParamsBase.__annotations__.keys()
    )
    adapter = TypeAdapter(list[message_create_params.MessageParam], config=ConfigDict(extra="forbid"))
    adapter.validate_json(json.dumps(made["messages"]))
