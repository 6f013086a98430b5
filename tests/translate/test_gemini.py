"""OpenAI chat requests as Gemini's, without the importer that Vertex AI has."""

import pytest

from batchmeter_translate.gemini_answer import gemini_completion
from batchmeter_translate.gemini_request import gemini_request
from batchmeter_translate.untranslatable import Notes, UntranslatableError

HI = [{"role": "user", "content": "hi"}]
MAP = {"type": "object", "additionalProperties": {"type": "string"}}


def translated(**body):
    return gemini_request({"messages": HI, **body}, "gemini-3.8-flash", Notes(), [])


def asked(place, schema):
    if place == "tools":
        return {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}


def test_schemas_go_in_as_they_are():
    schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}, "m": MAP}, "$defs": {"X": {"type": "array", "items": {"$ref": "#/$defs/X"}}}}  # fmt: skip
    made = translated(**asked("tools", schema))
    assert made["tools"] == [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]
    made = translated(**asked("response_format", schema))
    assert made["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": schema}


@pytest.mark.parametrize("place", ["tools", "response_format"])
@pytest.mark.parametrize(
    "part",
    [{"type": "array"}, {"type": "object"}, {"type": "array", "items": {}}, {"anyOf": [{"type": ["object", "null"]}]}],
)
def test_a_schema_that_leaves_open_what_it_holds_is_refused(place, part):
    with pytest.raises(UntranslatableError) as caught:
        translated(**asked(place, {"type": "object", "properties": {"x": part}}))
    assert caught.value.param == place


def test_web_search_is_a_tool_here():
    assert translated(web_search_options={})["tools"] == [{"googleSearch": {}}]
    assert "tools" not in translated(web_search_options=False)


def test_data_searches_are_vertex_ais_alone():
    candidate = {"groundingMetadata": {"groundingChunks": [{"retrievedContext": {}}]}, "finishReason": "STOP"}
    row = {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2}}
    assert "num_file_searches" not in gemini_completion(row, "gemini-3.8-flash")["usage"]
    assert gemini_completion(row, "gemini-3.8-flash", vertex=True)["usage"]["num_file_searches"] == 1
