"""Structured outputs: the sandbox answers a JSON Schema with JSON that fits it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from batchmeter.testing.sandbox import manual_clock, serve_sandbox
from batchmeter_sandbox.structured import fitting
from batchmeter_sandbox.tokens import Dice

from .conftest import CHAT, jsonl, request


class Step(BaseModel):
    explanation: str
    score: float | None


class Answer(BaseModel):
    steps: list[Step]
    kind: str
    count: int


TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 40, "maxLength": 60},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "parent": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name", "children", "parent"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
SCHEMAS = [
    Answer.model_json_schema(),
    TREE,
    {"type": "object"},
    {},
    {"enum": ["a", 2, None]},
    {"const": {"x": [1]}},
    {"type": "array", "items": {"type": "integer", "minimum": 7, "maximum": 9}, "minItems": 3, "maxItems": 4},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": False},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10, "multipleOf": 0.5},
    {"type": "integer", "minimum": 5, "maximum": 5},
    {"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 8},
    {"type": ["string", "null"], "format": "date-time"},
    {"type": "string", "format": "uuid"},
    {"oneOf": [{"type": "string", "maxLength": 3}, {"type": "integer"}]},
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]},
        ]
    },
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
@given(st.integers(0, 100))
def test_the_answer_fits_the_schema(schema, seed):
    made = fitting(schema, Dice(seed, "r-1"), "some text to cut up")
    Draft202012Validator(schema).validate(json.loads(json.dumps(made)))


async def test_the_official_sdk_parses_it(client):
    asked = [{"role": "user", "content": "hi"}]
    parsed = await client.chat.completions.parse(model="gpt-4o", messages=asked, response_format=Answer)
    assert parsed.choices[0].message.parsed == Answer.model_validate_json(parsed.choices[0].message.content)
    response = await client.responses.parse(model="gpt-4o", input="hi", text_format=Answer)
    assert isinstance(response.output_parsed, Answer)


async def test_a_batch_answers_with_it_too(client, clock, submit, lines):
    schema = {"name": "answer", "strict": True, "schema": Answer.model_json_schema()}
    wanted = {"response_format": {"type": "json_schema", "json_schema": schema}}
    batch = await submit([request(number, **wanted) for number in range(5)])
    clock.advance(3600)
    batch = await client.batches.retrieve(batch.id)
    for row in await lines(batch.output_file_id):
        Answer.model_validate_json(row["response"]["body"]["choices"][0]["message"]["content"])


@pytest.mark.parametrize(("mixed", "status"), [(False, "failed"), (True, "completed")])
async def test_files_of_several_models_are_taken_where_a_setting_says_so(mixed, status):
    """As Doubleword and other compatible vendors take them; OpenAI fails the batch."""
    clock = manual_clock()
    content = jsonl([request(number, model=f"model-{number % 2}") for number in range(4)])
    async with serve_sandbox(speed=1, clock=clock, mixed_models=mixed) as served:
        engine = served.engine
        receiver = engine.files.receive("in.jsonl")
        receiver.write(content)
        file = receiver.finish("batch", None)
        body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
        batch = await engine.batches.create(body)
        clock.advance(3600)
        assert (await engine.batches.retrieve(batch["id"]))["status"] == status
        totals = await served.engine.totals(batch["id"])
        assert len(totals.models) == (2 if mixed else 0)
