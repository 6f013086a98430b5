"""JSON Schema -> Gemini's subset."""

import json

import pytest

from batchmeter.errors import InvalidInputError
from batchmeter_translate.schema import subset
from batchmeter_translate.untranslatable import Notes, UntranslatableError
from batchmeter_vertex.rows import RowWriter

TEXT = {"type": "STRING"}
CASES = {
    "optional by anyOf": (
        {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "Name"},
        {"type": "STRING", "nullable": True, "title": "Name"},
    ),
    "several types": ({"type": ["string", "integer"]}, {"anyOf": [TEXT, {"type": "INTEGER"}]}),
    "several types or nothing": (
        {"type": ["string", "integer", "null"]},
        {"anyOf": [{**TEXT, "nullable": True}, {"type": "INTEGER", "nullable": True}]},
    ),
    "oneOf": ({"oneOf": [{"type": "string"}, {"type": "boolean"}]}, {"anyOf": [TEXT, {"type": "BOOLEAN"}]}),
    "const": ({"const": "x"}, {"type": "STRING", "enum": ["x"]}),
    "allOf": (
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"properties": {"b": {"type": "number"}}, "required": ["b"]},
            ]
        },
        {"type": "OBJECT", "properties": {"a": TEXT, "b": {"type": "NUMBER"}}, "required": ["a", "b"]},
    ),
    "formats": ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
    "unknown formats": ({"type": "string", "format": "uri"}, TEXT),
    "arrays": (
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "ARRAY", "items": TEXT, "minItems": 1},
    ),
    "a reference twice": (
        {
            "definitions": {"N": {"type": "number"}},
            "type": "object",
            "properties": {"x": {"$ref": "#/definitions/N"}, "y": {"$ref": "#/definitions/N"}},
        },
        {"type": "OBJECT", "properties": {"x": {"type": "NUMBER"}, "y": {"type": "NUMBER"}}},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_subset(name):
    given, expected = CASES[name]
    assert subset(given, Notes(), "tools") == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"T": {"properties": {"t": {"$ref": "#/$defs/T"}}}}, "$ref": "#/$defs/T"},
        {"properties": {"t": {"$ref": "#"}}},
        {"$defs": {"T": {"allOf": [{"$ref": "#/$defs/T"}]}}, "$ref": "#/$defs/T"},
        {"$ref": "#/$defs/nothing"},
        {"$ref": "https://example.com/schema"},
        {"type": "array", "prefixItems": [{"type": "string"}]},
        {"properties": {"any": {}}},
    ],
)
def test_what_gemini_cannot_hold(schema):
    with pytest.raises(UntranslatableError):
        subset(schema, Notes(), "tools")


def test_lost_rules_are_said():
    notes = Notes(line=1)
    schema = {"type": "integer", "exclusiveMinimum": 0, "enum": [1, 2]}
    assert subset(schema, notes, "tools") == {"type": "INTEGER"}
    assert {line.split("`")[1] for line in notes.lines()} == {"tools.exclusiveMinimum", "tools.enum"}


OPEN = {
    "list": {"type": "array", "items": {}},
    "bare list": {"type": "array"},
    "list of lists": {"type": "array", "items": {"type": "array"}},
    "dict": {"type": "object"},
    "dict of text": {"type": "object", "additionalProperties": {"type": "string"}},
    "list of dicts": {"type": "array", "items": {"type": "object", "properties": {}}},
    "list or nothing": {"anyOf": [{"type": "array", "items": {}}, {"type": "null"}]},
    "anything": {},
}


@pytest.mark.parametrize("place", ["tools", "response_format"])
@pytest.mark.parametrize("name", OPEN)
async def test_a_schema_that_leaves_open_what_it_holds_is_refused(name, place):
    """Gemini answers every such line with 400, so the file is refused, by line."""
    schema = {"type": "object", "properties": {"ids": OPEN[name]}}
    asked = {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    }
    body = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]}
    lines = [body, body | {place: asked[place]}]
    writer = RowWriter("in.jsonl", [])
    for number, line in enumerate(lines):
        request = {"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions", "body": line}
        await writer.feed(json.dumps(request).encode() + b"\n")
    with pytest.raises(InvalidInputError, match=r"line 2: .*Gemini.* \(custom_id 'r-1'\)") as caught:
        await writer.close()
    assert [problem.param for problem in caught.value.problems] == [f"body.{place}"]
