"""Vendors' answers with each member in turn gone or of another kind: a provider refuses them as its own error, or reads on.

One row that cannot be read hides no other row of its list or file, and each answer row is in one of the two views.
"""

import copy
import json
import tempfile
from datetime import date

import pytest

from batchmeter.errors import APIResponseError, BatchmeterError, UsageError
from batchmeter.metering.envelope import look_for
from batchmeter.models import Batch, Page
from batchmeter.providers import CallOptions
from batchmeter_anthropic import answers as anthropic_answers
from batchmeter_anthropic import states as anthropic
from batchmeter_anthropic.ids import from_vendor
from batchmeter_bedrock import answers as bedrock_answers
from batchmeter_bedrock import states as bedrock
from batchmeter_bedrock.files import Files
from batchmeter_bedrock.jobs import hours_of as window_hours
from batchmeter_bedrock.record_ids import from_record
from batchmeter_bedrock.record_ids import part_of as bedrock_part
from batchmeter_bedrock.settings import BedrockSettings
from batchmeter_gemini import answers as gemini_answers
from batchmeter_gemini import states as gemini
from batchmeter_mistral import job as mistral
from batchmeter_mistral.provider import MistralProvider
from batchmeter_mistral.settings import MistralSettings
from batchmeter_openai.pages import TokenPages
from batchmeter_openai.shapes import as_batch, as_deleted, as_file, as_page
from batchmeter_translate.embedding_answer import part_of as vertex_part
from batchmeter_vertex import answers as vertex_answers
from batchmeter_vertex import states as vertex
from batchmeter_xai import batch as xai
from batchmeter_xai.results import line_of, native

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
GONE = object()
WRONG = (
    None,
    [],
    {},
    "",
    5,
    -1,
    True,
    1.5,
    float("inf"),
    [None],
    ["x"],
    {"a": 1},
    10**40,
    "\ud83d",
    "2026-99-99T00:00:00Z",
)
T = "2026-09-24T18:37:24Z"
USAGE = {"input_tokens": 1, "output_tokens": 2, "cache_creation": {"ephemeral_1h_input_tokens": 3}}
MESSAGE = {"id": "m", "type": "message", "model": "c", "stop_reason": "end_turn", "usage": USAGE}
MESSAGE["content"] = [{"type": "text", "text": "x"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]
GOOGLE = {
    "candidates": [
        {
            "content": {"parts": [{"text": "x"}, {"functionCall": {"name": "f", "args": {}}}]},
            "finishReason": "STOP",
            "groundingMetadata": {"webSearchQueries": ["q"]},
        }
    ],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "promptTokensDetails": [{"modality": "TEXT"}]},
    "modelVersion": "g",
    "responseId": "r",
}
VECTOR = {"embedding": {"values": [0.1, 0.2]}, "usageMetadata": {"promptTokenCount": 1}}
CONVERSE = {
    "output": {"message": {"content": [{"text": "x"}, {"toolUse": {"toolUseId": "i", "name": "f", "input": {}}}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 2, "cacheDetails": [{"ttl": "1h", "inputTokens": 1}]},
}
ERRORED = {"type": "errored", "error": {"error": {"type": "api_error", "message": "m"}, "request_id": "r"}}
ROWS = {
    "anthropic": ({"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE}}, CHAT),
    "anthropic error": ({"custom_id": "bml-5", "result": ERRORED}, CHAT),
    "gemini": ({"key": "a", "response": GOOGLE}, CHAT),
    "gemini error": ({"key": "a", "error": {"code": 3, "message": "m", "status": "X"}}, CHAT),
    "gemini vector": ({"key": "bmc-a#0/1/b64", "response": VECTOR}, EMBEDDINGS),
    "vertex_ai": ({"custom_id": "bmc-a", "processed_time": T, "response": GOOGLE}, CHAT),
    "vertex_ai error": ({"custom_id": "a", "status": 'Bad Request: {"error": {"code": 400}}'}, CHAT),
    "bedrock": ({"recordId": "a", "modelOutput": CONVERSE}, CHAT),
    "bedrock message": ({"recordId": "a", "modelOutput": MESSAGE}, CHAT),
    "bedrock error": ({"recordId": "bml5", "error": {"errorCode": 400, "errorMessage": "m"}}, CHAT),
    "bedrock vector": (
        {"recordId": "bmp0o1bx", "modelOutput": {"embedding": [0.1], "inputTextTokenCount": 3}},
        EMBEDDINGS,
    ),
    "bedrock vectors": ({"recordId": "x", "modelOutput": {"embeddings": {"float": [[0.1], [0.2]]}}}, EMBEDDINGS),
    "xai": ({"batch_request_id": "a", "batch_result": {"response": {"chat_get_completion": {"id": "x"}}}}, CHAT),
    "xai error": ({"batch_request_id": "a", "batch_result": {"error": {"code": 1, "message": "m"}}}, CHAT),
}


def view(vendor, kind, endpoint):
    def nothing(_):
        return None

    return {
        "anthropic": lambda: anthropic_answers.Answers(kind, endpoint, nothing),
        "gemini": lambda: gemini_answers.Answers(kind, "g", endpoint, 5),
        "vertex_ai": lambda: vertex_answers.Answers(kind, "g", endpoint),
        "bedrock": lambda: bedrock_answers.Answers(kind, "m", endpoint, nothing),
    }[vendor]()


def places(value, at=()):
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*at, key))


def changed(seed):
    """The seed with each of its members in turn gone, and of each wrong kind."""
    for at in places(seed):
        for wrong in (*WRONG, GONE) if at else ():
            made = copy.deepcopy(seed)
            holder = made
            for key in at[:-1]:
                holder = holder[key]
            if wrong is GONE:
                del holder[at[-1]]
            else:
                holder[at[-1]] = wrong
            yield at, wrong, made


def written(vendor, endpoint, raw):
    """The row's line in the one view, and in the other."""
    if vendor == "xai":
        answered, line = line_of(raw)
        return (line, b"") if answered else (b"", line)
    found = []
    for kind in ("output", "error"):
        answers = view(vendor, kind, endpoint)
        lines = [answers._line(raw), *answers.left()]
        found.append(b"".join(answers._written(line) for line in lines if line is not None))
        answers.close()
    return tuple(found)


@pytest.mark.parametrize("name", ROWS)
def test_a_wrong_row_is_one_line_in_one_view(name):
    seed, endpoint = ROWS[name]
    for at, wrong, row in changed(seed):
        lines = written(name.partition(" ")[0], endpoint, json.dumps(row).encode())
        assert [bool(line) for line in lines].count(True) == 1, (at, wrong, lines)
        assert json.loads(lines[0] or lines[1]).keys() >= {"custom_id", "response", "error"}


TODAY = date(2026, 11, 30)
FILES = Files(BedrockSettings(region="us-east-1", bucket="b"), None)
JOB = {
    "jobArn": "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghijkl",
    "jobName": "batchmeter-x",
    "modelId": "amazon.nova-lite-v1:0",
    "clientRequestToken": "x",
    "status": "Completed",
    "submitTime": T,
    "endTime": T,
    "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://b/x.jsonl"}},
    "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b/o/m-eyJhIjoiYiJ9/"}},
    "timeoutDurationInHours": 24,
    "totalRecordCount": 3,
    "successRecordCount": 2,
}
OPENAI = {
    "id": "b",
    "status": "completed",
    "errors": {"data": [{"code": "c", "line": 1}]},
    "created_at": 1,
    "request_counts": {"total": 1, "completed": 1, "failed": 0},
    "usage": {"input_tokens": 1},
    "metadata": {"a": "b"},
    "output_file_id": "o",
}
OPERATION = {
    "name": "batches/o",
    "metadata": {
        "model": "models/g",
        "displayName": "d",
        "state": "BATCH_STATE_SUCCEEDED",
        "createTime": T,
        "batchStats": {"requestCount": "2"},
        "output": {"inlinedResponses": {"inlinedResponses": [{"metadata": {"key": "k"}}]}},
    },
    "done": True,
    "response": {"responsesFile": "files/b"},
    "error": {"code": 13, "message": "m"},
}
OBJECTS = {
    "anthropic": (
        lambda raw: anthropic.batch_of(raw, None, native=False),
        {"id": "m", "processing_status": "ended", "request_counts": {"succeeded": 1}, "created_at": T, "ended_at": T},
    ),
    "gemini": (lambda raw: gemini.batch_of(raw, native=False), OPERATION),
    "vertex_ai": (
        lambda raw: (vertex.batch_from_job(raw, input_file_id=None), vertex.input_uri(raw), vertex.output_folder(raw)),
        {
            "name": "projects/p/locations/l/batchPredictionJobs/7",
            "state": "JOB_STATE_SUCCEEDED",
            "createTime": T,
            "completionStats": {"successfulCount": "1"},
            "labels": {"a": "b"},
            "inputConfig": {"gcsSource": {"uris": ["gs://b/x"]}},
            "outputInfo": {"gcsOutputDirectory": "gs://b/o"},
            "partialFailures": [{"code": 3}],
        },
    ),
    "bedrock": (lambda raw: bedrock.batch_of(raw, input_file_id=None, native=False), JOB),
    "bedrock's places": (
        lambda raw: (FILES.file_of(bedrock.input_uri(raw) or ""), bedrock.output_folder(raw)),
        JOB,
    ),
    "mistral": (
        mistral.batch_of,
        {
            "id": "u",
            "input_files": ["f"],
            "status": "SUCCESS",
            "created_at": 1,
            "total_requests": 4,
            "succeeded_requests": 2,
            "output_file": "o",
            "errors": [{"message": "m", "count": 2}],
            "metadata": {"a": "b"},
        },
    ),
    "xai": (
        lambda raw: xai.batch_of(raw, TODAY),
        {
            "batch_id": "b",
            "name": "n",
            "create_time": "2026-09-23",
            "expire_time": "2026-10-23",
            "state": {"num_requests": 2, "num_pending": 1, "num_success": 1},
            "input_file_id": "f",
        },
    ),
    "openai": (as_batch, {"job": OPENAI}),
    "openai's file": (as_file, {"id": "f", "bytes": 1, "created_at": 1, "filename": "n", "status": "processed"}),
    "openai's list": (
        lambda raw: as_page(raw, as_batch, Page[Batch]),
        {"data": [OPENAI], "first_id": "a", "has_more": False},
    ),
    "openai's deletion": (lambda raw: as_deleted(raw, "f"), {"id": "f", "deleted": True}),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_wrong_object_is_read_or_refused_as_ours(name):
    read, seed = OBJECTS[name]
    read(seed)
    for at, wrong, raw in changed(seed):
        try:
            read(raw)
        except BatchmeterError:
            continue
        except Exception as error:
            raise AssertionError(f"{at} = {wrong!r}: {error!r}") from error


async def test_pages_that_lead_in_a_circle_end():
    """Lists of vendors with page tokens, and xAI's results: of two pages each names the other."""
    asked = []

    async def fetch(token, limit):
        asked.append(token)
        return [as_batch({"id": f"b{token}", "status": "completed"})], "1" if token != "1" else "2"

    with pytest.raises(APIResponseError, match="circle"):
        await TokenPages(fetch).page("nobody", 20)

    async def read(token):
        asked.append(token)
        return json.dumps({"results": [{}], "pagination_token": "1" if token != "1" else "2"}).encode()

    with pytest.raises(APIResponseError, match="circle"):
        _ = [rows async for rows in native(read)]
    assert len(asked) < 10


async def test_a_deleted_file_hides_no_other_of_mistrals_list():
    """Not even a whole page of them."""

    class Listing(MistralProvider):
        async def _rows(self, where, token, limit, **more):
            row = {"id": f"f{token}", "object": "file", "deleted": token is None, "filename": "a~ocr.jsonl"}
            return [row, "no file"], "100" if token is None else None

    listing = Listing("mistral", MistralSettings(api_key="k" * 9, api_base="http://127.0.0.1:1"))
    page = await listing.list_files(purpose=None, after=None, limit=5, order=None, options=CallOptions())
    assert [(file.id, file.filename) for file in page] == [("f100", "a.jsonl")]
    await listing.aclose()


@pytest.mark.parametrize("digits", [19, 40, 5000])
def test_numbers_too_large_for_a_place_are_names(digits):
    """Of ids that anybody may have written: neither a place in a file nor a part of a request."""
    number = "9" * digits
    with tempfile.TemporaryFile() as kept:
        for read, name in ((from_record, f"bml{number}"), (from_vendor, f"bml-{number}")):
            assert read(name, kept.seek) == name
    for parts, name in ((bedrock_part, f"bmp{number}o1fa"), (vertex_part, f"a#{number}/1")):
        assert (parts(name).name, parts(name).count) == (name, 1)
    with pytest.raises(UsageError, match="completion_window"):
        window_hours(f"{number}h")
    with pytest.raises(UsageError, match="completion_window"):
        mistral.hours_of(f"{number}h")
    found = {"content": {"parts": []}, "groundingMetadata": {"webSearchQueries": ["a"]}}
    row = {"key": "a", "response": {"modelVersion": f"gemini-{number}", "candidates": [found], "usageMetadata": USED}}
    assert look_for("vertex").answer(json.dumps(row).encode()).usage is not None


USED = {"promptTokenCount": 5, "candidatesTokenCount": 5, "totalTokenCount": 10}
