"""OpenAI requests as Gemini's: a row of the table per idea."""

import pytest

from batchmeter_translate.gemini_request import DROPPED, gemini_request
from batchmeter_translate.untranslatable import Notes, UntranslatableError

HI = [{"role": "user", "content": "hi"}]
TURN = [{"role": "user", "parts": [{"text": "hi"}]}]
PNG = "data:image/png;base64,iVBOR"
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "strict": True}}
CITY = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/City"}, "unit": {"type": ["string", "null"], "enum": ["c", "f", None]}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"City": {"type": "string", "description": "a city", "default": "Rome"}},
}
CITY_SUBSET = {
    "type": "OBJECT",
    "properties": {
        "city": {"type": "STRING", "description": "a city"},
        "unit": {"type": "STRING", "nullable": True, "enum": ["c", "f"]},
    },
    "required": ["city"],
}


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


def turn(*parts):
    return [{"role": "user", "parts": list(parts)}]


def translated(model="gemini-2.5-flash", notes=None, safety=(), **body):
    return gemini_request({"messages": HI, **body}, model, notes or Notes(), list(safety), importer=True)


MESSAGES = {
    "system and developer": (
        [
            {"role": "system", "content": "a"},
            {"role": "user", "content": "hi"},
            {"role": "developer", "content": [{"type": "text", "text": "b"}]},
        ],
        {"contents": TURN, "systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}]}},
    ),
    "only system": ([{"role": "system", "content": "hi"}], {"contents": TURN}),
    "same roles merge": (
        [*HI, {"role": "user", "content": "there"}, {"role": "assistant", "content": "yes"}],
        {"contents": [*turn({"text": "hi"}, {"text": "there"}), {"role": "model", "parts": [{"text": "yes"}]}]},
    ),
    "the first turn is the user's": (
        [{"role": "assistant", "content": "hello"}, *HI],
        {"contents": [*turn({"text": " "}), {"role": "model", "parts": [{"text": "hello"}]}, *TURN]},
    ),
    "image data": (
        user({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}, {"type": "text", "text": "what?"}),
        {"contents": turn({"inlineData": {"mimeType": "image/png", "data": "iVBOR"}}, {"text": "what?"})},
    ),
    "image uri": (
        user({"type": "image_url", "image_url": {"url": "gs://b/tools.jpeg"}}),
        {"contents": turn({"fileData": {"mimeType": "image/jpeg", "fileUri": "gs://b/tools.jpeg"}}, {"text": " "})},
    ),
    "image uri with its type": (
        user({"type": "image_url", "image_url": {"url": "https://x/y?z=1", "format": "image/webp"}}),
        {"contents": turn({"fileData": {"mimeType": "image/webp", "fileUri": "https://x/y?z=1"}}, {"text": " "})},
    ),
    "audio": (
        user({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}),
        {"contents": turn({"inlineData": {"mimeType": "audio/wav", "data": "UklG"}}, {"text": " "})},
    ),
    "file data": (
        user({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}}),
        {"contents": turn({"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}}, {"text": " "})},
    ),
    "bare file data": (
        user({"type": "file", "file": {"filename": "a.csv", "file_data": "YSxi"}}),
        {"contents": turn({"inlineData": {"mimeType": "text/csv", "data": "YSxi"}}, {"text": " "})},
    ),
    "file uri": (
        user({"type": "file", "file": {"file_id": "gs://b/film.mp4"}}),
        {"contents": turn({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/film.mp4"}}, {"text": " "})},
    ),
    "tools called in parallel": (
        [
            *HI,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"x": 1}'},
                        "extra_content": {"google": {"thought_signature": "sig"}},
                    },
                    {"id": "2", "type": "function", "function": {"name": "g", "arguments": ""}},
                ],
            },
            {"role": "tool", "tool_call_id": "2", "content": "plain"},
            {"role": "tool", "tool_call_id": "1", "content": '{"ok": true}'},
        ],
        {
            "contents": [
                *TURN,
                {
                    "role": "model",
                    "parts": [
                        {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "sig"},
                        {"functionCall": {"name": "g"}},
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"name": "g", "response": {"result": "plain"}}},
                        {"functionResponse": {"name": "f", "response": {"ok": True}}},
                    ],
                },
            ]
        },
    ),
    "the older function call": (
        [
            *HI,
            {"role": "assistant", "function_call": {"name": "f", "arguments": '{"x": 1}'}},
            {"role": "function", "name": "f", "content": "[1]"},
        ],
        {
            "contents": [
                *TURN,
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"x": 1}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "[1]"}}}]},
            ]
        },
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name):
    messages, expected = MESSAGES[name]
    assert translated(messages=messages) == expected


THOUGHTS = {"includeThoughts": True}
CONFIG = {
    "numbers": (
        {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "seed": 7, "presence_penalty": 1, "frequency_penalty": -1},
        {"temperature": 0.5, "topP": 0.9, "topK": 40, "seed": 7, "presencePenalty": 1, "frequencyPenalty": -1},
    ),
    "max_tokens": ({"max_tokens": 9}, {"maxOutputTokens": 9}),
    "max_completion_tokens": ({"max_completion_tokens": 9}, {"maxOutputTokens": 9}),
    "one stop": ({"stop": "END"}, {"stopSequences": ["END"]}),
    "stops": ({"stop": ["a", "b"]}, {"stopSequences": ["a", "b"]}),
    "n": ({"n": 3}, {"candidateCount": 3}),
    "logprobs": ({"logprobs": True, "top_logprobs": 2}, {"responseLogprobs": True, "logprobs": 2}),
    "json": ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
    "json schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": CITY}}},
        {
            "responseMimeType": "application/json",
            "responseSchema": {**CITY_SUBSET, "propertyOrdering": ["city", "unit"]},
        },
    ),
    "modalities": ({"modalities": ["text", "image"]}, {"responseModalities": ["TEXT", "IMAGE"]}),
    "voice": (
        {"modalities": ["audio"], "audio": {"voice": "Kore", "format": "wav"}},
        {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
        },
    ),
    "low": ({"reasoning_effort": "low"}, {"thinkingConfig": {"thinkingBudget": 1024, **THOUGHTS}}),
    "medium": ({"reasoning_effort": "medium"}, {"thinkingConfig": {"thinkingBudget": 8192, **THOUGHTS}}),
    "high": ({"reasoning_effort": "high"}, {"thinkingConfig": {"thinkingBudget": 24576, **THOUGHTS}}),
    "none": ({"reasoning_effort": "none"}, {"thinkingConfig": {"thinkingBudget": 0}}),
    "none on pro": (
        {"reasoning_effort": "none", "model": "gemini-2.5-pro"},
        {"thinkingConfig": {"thinkingBudget": 128, **THOUGHTS}},
    ),
    "minimal on lite": (
        {"reasoning_effort": "minimal", "model": "gemini-2.5-flash-lite"},
        {"thinkingConfig": {"thinkingBudget": 512, **THOUGHTS}},
    ),
    "medium on Gemini 3 Pro": (
        {"reasoning_effort": "medium", "model": "gemini-3-pro-preview"},
        {"thinkingConfig": {"thinkingLevel": "high", **THOUGHTS}},
    ),
    "medium on a later Gemini 3": (
        {"reasoning_effort": "medium", "model": "gemini-3.6-flash"},
        {"thinkingConfig": {"thinkingLevel": "medium", **THOUGHTS}},
    ),
    "nulls and falsehoods": ({"stop": None, "logprobs": False, "modalities": ["text"], "stream": False}, None),
    "text format": ({"response_format": {"type": "text"}}, None),
}


@pytest.mark.parametrize("name", CONFIG)
def test_generation_config(name):
    body, expected = CONFIG[name]
    made = translated(**{"model": "gemini-2.5-flash", **body})
    assert made.get("generationConfig") == expected
    assert made["contents"] == TURN


CHOICES = {
    "none": {"mode": "NONE"},
    "auto": {"mode": "AUTO"},
    "required": {"mode": "ANY"},
    "function": {"mode": "ANY", "allowedFunctionNames": ["weather"]},
    "allowed": {"mode": "ANY", "allowedFunctionNames": ["weather"]},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_tool_choice(choice):
    given = {
        "function": {"type": "function", "function": {"name": "weather"}},
        "allowed": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [WEATHER]}},
    }
    made = translated(tools=[WEATHER], tool_choice=given.get(choice, choice))
    assert made["toolConfig"] == {"functionCallingConfig": CHOICES[choice]}


def test_tools():
    plain = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
    full = {**WEATHER, "function": {**WEATHER["function"], "parameters": CITY}}
    assert translated(tools=[full, plain])["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "d", "parameters": CITY_SUBSET},
                {"name": "now"},
            ]
        }
    ]


def test_safety_settings_come_from_the_account_or_the_request():
    off = {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}
    assert translated(safety=[off])["safetySettings"] == [off]
    own = {**off, "threshold": "BLOCK_ONLY_HIGH"}
    assert translated(safety=[off], safety_settings=[own])["safetySettings"] == [own]


@pytest.mark.parametrize("name", DROPPED)
def test_what_gemini_lacks_is_left_out_and_said(name):
    notes = Notes(line=3)
    assert translated(notes=notes, **{name: {"a": 1}}) == {"contents": TURN}
    assert notes.lines() == [f"`{name}` left out of 1 request (first: line 3): {DROPPED[name]}"]


REFUSED = {
    "an unknown parameter": ({"temprature": 1}, "temprature"),
    "streaming": ({"stream": True}, "stream"),
    "web search": ({"web_search_options": {}}, "web_search_options"),
    "too many answers": ({"n": 9}, "n"),
    "too many stops": ({"stop": list("abcdef")}, "stop"),
    "too hot": ({"temperature": 2.5}, "temperature"),
    "a number as text": ({"temperature": "0.5"}, "temperature"),
    "effort": ({"reasoning_effort": "huge"}, "reasoning_effort"),
    "tool kinds": ({"tools": [{"type": "web_search"}]}, "tools"),
    "grammar": ({"response_format": {"type": "grammar"}}, "response_format"),
    "no messages": ({"messages": []}, "messages"),
    "an orphan tool result": ({"messages": [*HI, {"role": "tool", "tool_call_id": "9"}]}, "messages.tool_call_id"),
    "arguments": (
        {"messages": [*HI, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "["}}]}]},
        "messages.tool_calls",
    ),
    "roles": ({"messages": [{"role": "critic", "content": "x"}]}, "messages"),
    "part kinds": ({"messages": user({"type": "hologram"})}, "messages"),
    "media types": ({"messages": user({"type": "image_url", "image_url": {"url": "gs://b/x"}})}, "messages.image_url"),
    "relative urls": ({"messages": user({"type": "image_url", "image_url": {"url": "x.png"}})}, "messages.image_url"),
    "text in data urls": ({"messages": user({"type": "image_url", "image_url": "data:image/png,x"})}, "messages"),
    "uploaded ids": ({"messages": user({"type": "file", "file": {"file_id": "file-1"}})}, "messages"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_said_names_its_parameter(name):
    body, param = REFUSED[name]
    with pytest.raises(UntranslatableError) as caught:
        translated(**body)
    assert caught.value.param == param
