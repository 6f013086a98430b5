"""Jobs and lines in Mistral's words: tables both ways."""

import json

import pytest

from batchmeter.errors import APIResponseError, InvalidInputError, UsageError
from batchmeter.providers import BatchRequest
from batchmeter_mistral.job import STATUSES, batch_of, hours_of, job_of
from batchmeter_mistral.lines import ENDPOINTS, marked, to_mistral, to_openai, translated, unmarked

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(("word", "status"), [*STATUSES.items(), ("PAUSED", "paused")])
def test_statuses(word, status):
    batch = batch_of({"id": "j", "status": word, "completed_at": 9, "started_at": 5, "created_at": 1})
    assert batch.status == status
    assert batch.ended_at == (9 if batch.ended else None)
    assert batch.in_progress_at == 5


@pytest.mark.parametrize(
    ("members", "counts"),
    [
        ({"total_requests": 0}, None),
        ({"total_requests": 4, "completed_requests": 4, "succeeded_requests": 2, "failed_requests": 2}, (4, 2, 2)),
    ],
)
def test_counts_are_unknown_until_there_are_some(members, counts):
    found = batch_of({"id": "j", "status": "RUNNING", **members}).request_counts
    assert (found and (found.total, found.completed, found.failed)) == counts


def test_errors_and_unknown_members_are_kept():
    errors = [{"message": "HTTP Error, status code: 400", "count": 2}]
    batch = batch_of({"id": "j", "status": "SUCCESS", "errors": errors, "agent_id": "a"})
    assert [error.message for error in batch.errors.data] == ["HTTP Error, status code: 400"]
    assert batch.model_extra["agent_id"] == "a"


@pytest.mark.parametrize("raw", [None, [], {"id": 1, "status": "QUEUED"}, {"id": "j"}])
def test_what_is_no_job_is_refused(raw):
    with pytest.raises(APIResponseError, match="expected a job"):
        batch_of(raw)


@pytest.mark.parametrize(("window", "hours"), [("24h", 24), ("1h", 1), ("6d", 144), ("167h", 167)])
def test_windows(window, hours):
    assert hours_of(window) == hours


@pytest.mark.parametrize("window", ["7d", "0h", "168h", "soon", "24", ""])
def test_a_window_that_mistral_has_not_is_refused(window):
    with pytest.raises(UsageError, match="completion_window"):
        hours_of(window)


def test_a_job_without_input_is_refused():
    with pytest.raises(UsageError, match="needs an input_file_id"):
        job_of(BatchRequest(None, CHAT), {})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 4, "max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": None}, {}),
        ({"seed": 7}, {"random_seed": 7}),
        ({"tool_choice": "required"}, {"tool_choice": "any"}),
        ({"tool_choice": "auto", "parallel_tool_calls": False}, {"tool_choice": "auto", "parallel_tool_calls": False}),
        ({"user": "u", "metadata": {}, "store": True, "service_tier": "auto", "logprobs": True}, {}),
    ],
)
def test_chat_bodies_get_mistrals_names(body, expected):
    line = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "m", **body}}
    assert to_mistral(line) == {"custom_id": "a", "body": {"model": "m", **expected}}


def test_other_bodies_stay_as_they_are():
    body = {"model": "m", "document": {"type": "document_url", "document_url": "https://a.example"}, "user": "u"}
    assert to_mistral({"custom_id": "a", "method": "POST", "url": "/v1/ocr", "body": body}) == {
        "custom_id": "a",
        "body": body,
    }
    assert to_openai({"custom_id": "a", "body": body}, "/v1/ocr")["url"] == "/v1/ocr"


@pytest.mark.parametrize("url", ENDPOINTS)
@pytest.mark.parametrize("name", ["in.jsonl", "my.long.name.jsonl", "noending", "a~b.jsonl"])
def test_the_files_name_keeps_its_url(url, name):
    assert unmarked(marked(name, url)) == (name, url)
    assert unmarked(name) == (name, None)


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_lines_are_translated_however_they_are_cut(size):
    rows = [{"custom_id": str(n), "method": "POST", "url": CHAT, "body": {"seed": n, "é": "ü"}} for n in range(3)]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()

    async def chunks():
        for start in range(0, len(text), size):
            yield text[start : start + size]

    made = b"".join([chunk async for chunk in translated(chunks(), to_mistral)])
    assert [json.loads(line) for line in made.splitlines()] == [
        {"custom_id": str(n), "body": {"é": "ü", "random_seed": n}} for n in range(3)
    ]


async def test_a_line_that_is_no_object_is_named():
    async def chunks():
        yield b'{"body": {}}\n[1]\n'

    with pytest.raises(InvalidInputError, match="line 2"):
        [chunk async for chunk in translated(chunks(), to_mistral)]
