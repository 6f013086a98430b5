"""Vertex AI's rows as OpenAI's lines."""

import json
import tracemalloc
from pathlib import Path

import pytest
from openai.types.chat import ChatCompletion

from batchmeter import meter
from batchmeter_translate.claude_answer import claude_completion
from batchmeter_translate.failures import failure
from batchmeter_translate.gemini_answer import FINISH, gemini_completion
from batchmeter_translate.usage import claude_usage, gemini_usage
from batchmeter_vertex.answers import Answers, custom_id_of

SAMPLE = (Path(__file__).parent.parent / "data" / "vertex" / "output_lines_doc_2024-11.jsonl").read_bytes()


def response(*parts, **more):
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP", **more}]}


def choice(answer):
    return gemini_completion(answer, "gemini-2.5-flash")["choices"][0]


async def lines(kind, *rows, endpoint="/v1/chat/completions"):
    async def chunks():
        data = b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
        for start in range(0, len(data), 50):
            yield data[start : start + 50]

    made = b"".join([block async for block in Answers(kind, "gemini-2.5-flash", endpoint).translated(chunks())])
    return [json.loads(line) for line in made.split(b"\n") if line]


def test_text_and_thoughts():
    message = choice(response({"text": "let me", "thought": True}, {"text": "Hello"}, {"text": "!"}))["message"]
    assert message == {
        "role": "assistant",
        "content": "Hello!",
        "refusal": None,
        "reasoning_content": "let me",
    }


def test_tool_calls():
    parts = [
        {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "sig"},
        {"functionCall": {"name": "g"}},
    ]
    made = choice({**response(*parts), "responseId": "r"})
    assert made["finish_reason"] == "tool_calls"
    assert made["message"]["content"] is None
    assert made["message"]["tool_calls"] == [
        {
            "id": "call_r_0_0",
            "type": "function",
            "function": {"name": "f", "arguments": '{"x": 1}'},
            "extra_content": {"google": {"thought_signature": "sig"}},
        },
        {"id": "call_r_0_1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_images_and_audio():
    parts = [
        {"inlineData": {"mimeType": "image/png", "data": "iVBOR"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}},
    ]
    message = choice(response(*parts))["message"]
    assert message["images"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBOR"}}]
    assert message["audio"] == {"data": "UklG", "format": "audio/wav"}


def test_logprobs():
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.1}],
        "topCandidates": [
            {"candidates": [{"token": "é", "logProbability": -0.1}, {"token": "e", "logProbability": -3}]}
        ],
    }
    [token] = choice(response({"text": "é"}, logprobsResult=result))["logprobs"]["content"]
    assert (token["token"], token["logprob"], token["bytes"]) == ("é", -0.1, [195, 169])
    assert [top["token"] for top in token["top_logprobs"]] == ["é", "e"]


@pytest.mark.parametrize("reason", [*FINISH, "MALFORMED_FUNCTION_CALL", "OTHER", "SOMETHING_NEW"])
def test_finish_reasons_keep_the_vendors_word(reason):
    made = choice({"candidates": [{"finishReason": reason}]})
    assert made["finish_reason"] == FINISH.get(reason, "stop")
    assert made["native_finish_reason"] == reason
    assert made["message"]["content"] is None


def test_a_blocked_prompt_is_a_filtered_choice_with_its_tokens():
    answer = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}}
    made = gemini_completion(answer, "m")
    assert made["choices"][0]["finish_reason"] == "content_filter"
    assert made["choices"][0]["message"]["refusal"] == "blocked: PROHIBITED_CONTENT"
    assert made["usage"]["total_tokens"] == 9


def test_what_comes_out_is_a_chat_completion_to_openais_own_model():
    answer = response({"text": "hi"}, index=0) | {"createTime": "2026-11-22T09:00:00.123456789Z"}
    made = ChatCompletion.model_validate(gemini_completion(answer, "gemini-2.5-flash"), strict=True)
    assert made.created == 1795338000
    assert made.choices[0].message.content == "hi"
    claude = {"content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}], "stop_reason": "tool_use"}
    made = ChatCompletion.model_validate(claude_completion(claude, "claude"), strict=True)
    assert made.choices[0].message.tool_calls[0].function.arguments == '{"x": 1}'
    assert made.choices[0].finish_reason == "tool_calls"


def test_gemini_usage_adds_what_lies_beside():
    meta = {
        "promptTokenCount": 100,
        "toolUsePromptTokenCount": 7,
        "cachedContentTokenCount": 40,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 30,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 60}, {"modality": "AUDIO", "tokenCount": 40}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": "5"}],
    }
    assert gemini_usage(meta) == {
        "prompt_tokens": 107,
        "completion_tokens": 40,
        "total_tokens": 147,
        "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 40, "image_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0, "image_tokens": 5},
    }


def test_claude_usage_adds_the_cache():
    usage = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3, "output_tokens": 2}
    made = claude_usage(usage)
    assert (made["prompt_tokens"], made["total_tokens"]) == (18, 20)
    assert made["prompt_tokens_details"] == {"cached_tokens": 5, "cache_write_tokens": 3}


def gemini(usage, model="gemini-2.5-flash", **candidate):
    return response({"text": "x"}, **candidate) | {"modelVersion": model, "usageMetadata": usage}


def claude(usage):
    return {"type": "message", "model": "claude-haiku-4-5-20251001", "content": [], "usage": usage}


def tokens(**counts):
    return [{"modality": modality, "tokenCount": count} for modality, count in counts.items()]


RATES = {"input": 1, "cached_input": 20, "audio_in": 300, "cached_audio_in": 4000, "output": 5, "web_search": 60000}
FLASH = {"batch": RATES}
"""No two alike, so that nothing can stand for another."""
PLAIN = {"promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100}
AUDIO = PLAIN | {"promptTokensDetails": tokens(TEXT=700, AUDIO=300)}


@pytest.mark.parametrize(
    "answer",
    [
        gemini(PLAIN | {"thoughtsTokenCount": 30, "toolUsePromptTokenCount": 40, "totalTokenCount": 1170}),
        gemini({"tokenCount": 1000}),
        gemini(AUDIO | {"cachedContentTokenCount": 400}),
        gemini(AUDIO | {"cachedContentTokenCount": 400, "cacheTokensDetails": tokens(TEXT=300, AUDIO=100)}),
        gemini(
            PLAIN
            | {"promptTokensDetails": tokens(AUDIO=1000), "cachedContentTokenCount": 1000}
            | {"cacheTokensDetails": tokens(AUDIO=1000)}
        ),
        gemini(AUDIO | {"cacheTokensDetails": tokens(AUDIO=400), "cachedContentTokenCount": 400}),
        gemini(PLAIN | {"candidatesTokensDetails": tokens(IMAGE=90)}, "gemini-2.5-flash-image"),
        gemini(PLAIN, groundingMetadata={"webSearchQueries": ["a", "b"]}),
        gemini(PLAIN, groundingMetadata={"webSearchQueries": "a"}),
        gemini(PLAIN, groundingMetadata={"webSearchQueries": ["a"], "groundingChunks": [{"web": {}}]}),
        gemini(PLAIN, "gemini-3-flash", groundingMetadata={"webSearchQueries": ["a", "a", "b", ""]}),
        gemini(
            PLAIN | {"toolUsePromptTokenCount": 40},
            groundingMetadata={"webSearchQueries": ["a"], "groundingChunks": [{"web": {}}]},
        ),
        gemini(PLAIN, groundingMetadata={"groundingChunks": [{"maps": {}}]}),
        gemini(PLAIN, groundingMetadata={"groundingChunks": [{"retrievedContext": {}}]}),
        gemini(PLAIN, groundingMetadata={"groundingChunks": [{"telepathy": {}}]}),
        gemini(PLAIN | {"thoughtsTokenCount": 30}),
        gemini(PLAIN | {"cachedContentTokenCount": 400, "totalTokenCount": 1500}),
        gemini(PLAIN | {"totalTokenCount": 5000}),
        gemini(PLAIN | {"cacheTokensDetails": tokens(TEXT=300)}),
        gemini(None),
        gemini({"totalTokenCount": 1100}),
        gemini({"promptTokenCount": 0}),
        claude({"input_tokens": 1000, "cache_read_input_tokens": 500, "output_tokens": 50}),
        claude({"input_tokens": 1000, "cache_creation_input_tokens": 90_000, "output_tokens": 50}),
        claude(
            {"input_tokens": 1000, "cache_creation_input_tokens": 90_000, "output_tokens": 50}
            | {"cache_creation": {"ephemeral_5m_input_tokens": 30_000, "ephemeral_1h_input_tokens": 60_000}}
        ),
        claude(
            {"input_tokens": 1000, "output_tokens": 50}
            | {"cache_creation": {"ephemeral_5m_input_tokens": 30_000, "ephemeral_1h_input_tokens": 60_000}}
        ),
        claude({"input_tokens": 1000, "output_tokens": 50, "server_tool_use": {"web_search_requests": 2}}),
        claude(None),
        claude({"output_tokens": 50}),
    ],
)
async def test_a_translated_answer_costs_what_its_row_does(answer):
    row = {"custom_id": "bmc-r", "status": "", "request": {}, "response": answer}
    prices = {"vertex_ai/gemini-2.5-flash": FLASH}
    [line] = await lines("output", row)
    by_row, by_line = (
        meter([json.dumps(one).encode()], provider="vertex_ai", region="global", prices=prices) for one in (row, line)
    )
    assert by_line.cost == by_row.cost
    assert by_line.usage == by_row.usage


async def test_an_embedding_without_a_count_has_no_usage():
    rows = [
        {"key": f"bmc-a#{i}/2", "status": "", "response": {"embedding": {"values": [1]}, **counted}}
        for i, counted in enumerate([{"tokenCount": 2}, {}])
    ]
    [line] = await lines("output", *rows, endpoint="/v1/embeddings")
    assert line["response"]["body"]["usage"] is None


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ('Bad Request: {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}', 400, "no"),
        ('{"error": {"message": "slow", "status": "RESOURCE_EXHAUSTED"}}', 429, "slow"),
        ("Too Many Requests: try later", 429, "Too Many Requests: try later"),
        ("Deadline of the job", 500, "Deadline of the job"),
        ("Odd {not json}", 500, "Odd {not json}"),
    ],
)
def test_failures(status, code, message):
    number, body = failure(status)
    assert (number, body["error"]["message"]) == (code, message)


async def test_each_row_is_in_exactly_one_view():
    rows = [
        {"custom_id": "bmc-good", "status": "", "response": response({"text": "x"})},
        {"custom_id": "bmc-bad", "status": "Internal Server Error: boom", "response": {}},
        {"custom_id": "bmc-silent", "status": ""},
        b"",
        b'{"custom_id": "cut off',
    ]
    assert [line["custom_id"] for line in await lines("output", *rows)] == ["good"]
    errors = await lines("error", *rows)
    assert [(line["custom_id"], (line["error"] or {}).get("code")) for line in errors] == [
        ("bad", None),
        ("silent", "no_response"),
        (None, "malformed_row"),
    ]
    assert errors[0]["response"]["status_code"] == 500


async def test_the_rows_that_google_printed():
    [line] = await lines("output", SAMPLE)
    assert line["custom_id"] is None
    body = line["response"]["body"]
    assert (body["model"], body["created"]) == ("gemini-2.5-flash", 1731506668)
    assert body["choices"][0]["message"]["content"].startswith("Here's a list")
    [error] = await lines("error", SAMPLE)
    assert error["response"]["body"]["error"]["message"] == "Please use a valid role: user, model."


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"custom_id": 123}, "123"),
        ({"key": "theirs"}, "theirs"),
        ({"custom_id": "bmx-!"}, "bmx-!"),
        ({"request": {"labels": {"team": "x"}}}, None),
        ({}, None),
    ],
)
def test_ids_of_rows_made_elsewhere(row, expected):
    assert custom_id_of(row) == expected


async def test_embeddings_that_never_completed_are_errors():
    rows = [
        {"key": "bmc-a#0/2", "status": "", "response": {"embedding": {"values": [1]}}},
        {"key": "bmc-b#1/2", "status": "Bad Request: x"},
    ]
    assert await lines("output", *rows, endpoint="/v1/embeddings") == []
    a, b = await lines("error", *rows, endpoint="/v1/embeddings")
    assert (a["custom_id"], a["error"]["message"]) == ("a", "1 of 2 embeddings came back")
    assert (b["custom_id"], b["response"]["status_code"]) == ("b", 400)


async def test_any_number_of_rows_in_flat_memory():
    async def rows():
        for i in range(600):
            row = {"custom_id": f"bmc-{i}", "status": "", "response": response({"text": "word " * 1000})}
            yield json.dumps(row).encode() + b"\n"

    tracemalloc.start()
    size = 0
    async for block in Answers("output", "m", "/v1/chat/completions").translated(rows()):
        size += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 3_000_000
    assert peak < 1_500_000


async def test_vectors_that_wait_do_so_on_disk():
    response = json.dumps({"embedding": {"values": [0.123456789] * 500}})

    async def rows():
        for index in range(3):
            for i in range(150):
                yield f'{{"key": "bmc-{i}#{index}/3", "status": "", "response": {response}}}\n'.encode()

    tracemalloc.start()
    count = 0
    async for block in Answers("output", "m", "/v1/embeddings").translated(rows()):
        count += block.count(b"\n")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 150
    assert peak < 2_000_000  # 3 MB if they waited in memory
