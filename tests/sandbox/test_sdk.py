"""The official SDK, async and sync, finds an OpenAI behind the sandbox's address."""

import json
import time

import pytest

import openai
from batchmeter.testing.sandbox import sandbox_thread

from .conftest import CHAT, jsonl, request


async def test_a_batch_lives_as_at_openai(client, clock, submit, lines):
    batch = await submit(metadata={"team": "search"})
    assert (batch.status, batch.request_counts.total, batch.model, batch.usage) == ("validating", 0, None, None)
    assert batch.expires_at - batch.created_at == 86_400
    seen = []
    for seconds in (61, 600, 600, 100):
        clock.advance(seconds)
        batch = await client.batches.retrieve(batch.id)
        seen.append((batch.status, batch.request_counts.completed))
    assert seen == [("in_progress", 0), ("in_progress", 5), ("finalizing", 10), ("completed", 10)]
    assert batch.metadata == {"team": "search"}
    assert batch.model == "gpt-4o-mini-2024-07-18"
    assert batch.created_at < batch.in_progress_at < batch.finalizing_at < batch.completed_at
    assert batch.error_file_id is None
    answers = await lines(batch.output_file_id)
    assert sorted(answer["custom_id"] for answer in answers) == [f"r-{number}" for number in range(10)]
    usages = [answer["response"]["body"]["usage"] for answer in answers]
    assert batch.usage.input_tokens == sum(usage["prompt_tokens"] for usage in usages)
    assert batch.usage.output_tokens == sum(usage["completion_tokens"] for usage in usages)


def test_the_sync_sdk():
    with sandbox_thread() as sandbox, openai.OpenAI(base_url=sandbox.url, api_key="any") as client:
        file = client.files.create(file=("in.jsonl", jsonl([request(1)])), purpose="batch")
        assert client.files.wait_for_processing(file.id).status == "processed"
        batch = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        end = time.monotonic() + 10
        while batch.status != "completed" and time.monotonic() < end:
            batch = client.batches.retrieve(batch.id)
        with client.files.with_streaming_response.content(batch.output_file_id) as response:
            [line] = list(response.iter_lines())
        assert json.loads(line)["custom_id"] == "r-1"
        assert client.batches.list().data == [batch]


async def test_batches_are_listed_newest_first_from_behind_any_id(client, submit):
    ids = [(await submit()).id for _ in range(7)]
    assert [batch.id async for batch in client.batches.list(limit=3)] == ids[::-1]
    page = await client.batches.list(after=ids[4], limit=2)
    assert [batch.id for batch in page.data] == [ids[3], ids[2]]
    assert (page.has_more, page.data[0].id) == (True, ids[3])
    assert (await client.batches.list(after=ids[0])).data == []


async def test_files_are_listed_by_purpose_and_order(client, clock, submit):
    batch = await submit()
    clock.advance(2000)
    batch = await client.batches.retrieve(batch.id)
    other = await client.files.create(file=("x.txt", b"x"), purpose="user_data")
    every = [batch.input_file_id, batch.output_file_id, other.id]
    assert {file.id async for file in client.files.list(limit=1)} == set(every)
    assert (await client.files.list(order="asc")).data[0].id == batch.input_file_id
    assert [file.id async for file in client.files.list(purpose="batch_output")] == [batch.output_file_id]
    output = await client.files.retrieve(batch.output_file_id)
    assert output.bytes == len((await client.files.content(output.id)).content)
    assert output.purpose == "batch_output"


async def test_a_file_comes_back_byte_for_byte_until_deleted(client):
    content = bytes(range(256)) * 700 + b"\r\n--\r\n"
    file = await client.files.create(file=("ä ö.bin", content), purpose="user_data")
    assert (file.bytes, file.filename) == (len(content), "ä ö.bin")
    assert (await client.files.content(file.id)).content == content
    assert (await client.files.delete(file.id)).deleted
    with pytest.raises(openai.NotFoundError, match="No such File"):
        await client.files.retrieve(file.id)
    with pytest.raises(openai.NotFoundError):
        await client.files.content(file.id)


async def test_files_expire(client, clock, submit):
    short = await client.files.create(
        file=("a.jsonl", b"{}"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert short.expires_at - short.created_at == 3600
    batch = await submit(output_expires_after={"anchor": "created_at", "seconds": 7200})
    clock.advance(2000)
    batch = await client.batches.retrieve(batch.id)
    output = await client.files.retrieve(batch.output_file_id)
    assert output.expires_at - output.created_at == 7200
    clock.advance(3000)
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(short.id)
    await client.files.retrieve(output.id)
    clock.advance(5000)
    with pytest.raises(openai.NotFoundError):
        await client.files.content(output.id)


@pytest.mark.parametrize(("wait", "ran"), [(0, 0), (60, 0), (660, 5), (1300, 10)])
async def test_a_cancelled_batch_keeps_what_ran(client, clock, submit, lines, wait, ran):
    batch = await submit()
    clock.advance(wait)
    batch = await client.batches.cancel(batch.id)
    assert batch.status == "cancelling"
    assert (await client.batches.cancel(batch.id)).status == "cancelling"
    clock.advance(60)
    batch = await client.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts.completed) == ("cancelled", ran)
    assert len(await lines(batch.output_file_id)) == ran
    unrun = await lines(batch.error_file_id)
    assert {line["error"]["code"] for line in unrun} <= {"batch_cancelled"}
    assert len(unrun) == 10 - ran
    with pytest.raises(openai.ConflictError, match="Cannot cancel a batch with status 'cancelled'"):
        await client.batches.cancel(batch.id)


@pytest.mark.parametrize(
    ("asked", "error", "param"),
    [
        ({"endpoint": "/v1/nothing"}, openai.BadRequestError, "endpoint"),
        ({"completion_window": "1h"}, openai.BadRequestError, "completion_window"),
        ({"metadata": {str(key): "x" for key in range(17)}}, openai.BadRequestError, "metadata"),
        ({"metadata": {"k" * 65: "x"}}, openai.BadRequestError, f"metadata.{'k' * 65}"),
        ({"metadata": {"k": "x" * 513}}, openai.BadRequestError, "metadata.k"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, openai.BadRequestError, None),
        ({"metadata": {"sandbox": "fail=2"}}, openai.BadRequestError, "sandbox"),
    ],
)
async def test_a_wrong_create_is_refused(submit, asked, error, param):
    with pytest.raises(error) as caught:
        await submit(**asked)
    assert param in (None, caught.value.param)
    assert caught.value.request_id


async def test_unknown_ids_are_not_found(client):
    with pytest.raises(openai.NotFoundError, match="No batch found with id 'batch_x'"):
        await client.batches.retrieve("batch_x")
    with pytest.raises(openai.NotFoundError):
        await client.batches.list(after="batch_x")
    with pytest.raises(openai.NotFoundError):
        await client.files.delete("file-x")
    with pytest.raises(openai.BadRequestError, match="limit"):
        await client.batches.list(limit=101)
    with pytest.raises(openai.BadRequestError, match="purpose"):
        await client.files.create(file=("a", b""), purpose="nonsense")


def test_only_the_right_key_is_let_in():
    with sandbox_thread(api_key="sk-right") as sandbox:
        with openai.OpenAI(base_url=sandbox.url, api_key="sk-wrong") as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                client.batches.list()
            assert caught.value.code == "invalid_api_key"
        with openai.OpenAI(base_url=sandbox.url, api_key="sk-right") as client:
            assert client.batches.list().data == []
