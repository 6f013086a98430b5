"""Faults that the sandbox finds in an input file, once it looks: never at create, always OpenAI's codes."""

import pytest

from .conftest import CHAT, jsonl, request

GOOD = request(1)


@pytest.mark.parametrize(
    ("content", "code", "param", "line"),
    [
        (jsonl([GOOD]) + b"{nope}\n", "invalid_json_line", None, 2),
        (jsonl([GOOD, GOOD]), "duplicate_custom_id", "custom_id", 2),
        (jsonl([GOOD | {"custom_id": None}]), "missing_required_parameter", "custom_id", 1),
        (jsonl([GOOD | {"body": {"model": "m"}}]), "missing_required_parameter", "body.messages", 1),
        (jsonl([GOOD, request(2, model="other")]), "mismatched_model", "body.model", 2),
        (jsonl([GOOD | {"url": "/v1/responses"}]), "url_mismatch", "url", 1),
        (jsonl([GOOD | {"url": "/nowhere"}]), "invalid_url", "url", 1),
        (jsonl([request(1, stream=True)]), "streaming_unsupported", "body.stream", 1),
        (b"\n", "empty_file", None, None),
    ],
)
async def test_a_bad_file_fails_the_batch_at_its_first_bad_line(client, clock, submit, content, code, param, line):
    batch = await submit(content)
    clock.advance(59)
    assert (await client.batches.retrieve(batch.id)).status == "validating"
    clock.advance(1)
    batch = await client.batches.retrieve(batch.id)
    assert batch.status == "failed"
    [error] = batch.errors.data
    assert (error.code, error.param, error.line) == (code, param, line)
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (0, 0, 0)
    assert (batch.output_file_id, batch.error_file_id, batch.in_progress_at) == (None, None, None)
    assert batch.failed_at == batch.created_at + 60


async def test_a_missing_file_fails_the_batch_later(client, clock):
    batch = await client.batches.create(input_file_id="file-none", endpoint=CHAT, completion_window="24h")
    assert batch.status == "validating"
    clock.advance(60)
    batch = await client.batches.retrieve(batch.id)
    assert [(error.code, error.param) for error in batch.errors.data] == [("invalid_request", "file_id")]


async def test_a_file_for_something_else_fails_the_batch_later(client, clock):
    file = await client.files.create(file=("in.jsonl", jsonl([GOOD])), purpose="user_data")
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    clock.advance(60)
    assert (await client.batches.retrieve(batch.id)).status == "failed"
