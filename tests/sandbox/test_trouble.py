"""Scripted trouble: batches that go wrong, and requests that do."""

import json

import pytest

import openai
from batchmeter.testing.sandbox import sandbox_thread, serve_sandbox

from .conftest import CHAT, jsonl, request


@pytest.fixture
def finished(client, clock, submit):
    """A batch with this script, at its end."""

    async def run(script: str, requests: list[dict] | None = None):
        batch = await submit(requests, script)
        clock.advance(5000)
        return await client.batches.retrieve(batch.id)

    return run


async def test_some_lines_fail(finished, lines):
    batch = await finished("fail=0.3")
    assert (batch.request_counts.completed, batch.request_counts.failed) == (7, 3)
    assert len(await lines(batch.output_file_id)) == 7
    errors = await lines(batch.error_file_id)
    assert sorted(line["response"]["status_code"] for line in errors) == [400, 400, 500]
    assert all("usage" not in line["response"]["body"] for line in errors)


async def test_all_lines_fail(finished, lines):
    batch = await finished("fail=1")
    assert (batch.status, batch.output_file_id, batch.request_counts.failed) == ("completed", None, 10)
    assert len(await lines(batch.error_file_id)) == 10


@pytest.mark.parametrize("outcome", ["expired", "cancelled"])
async def test_a_batch_that_ends_early_keeps_its_share(finished, lines, outcome):
    batch = await finished(f"outcome={outcome}, done=0.4 fail=0.25")
    assert batch.status == outcome
    assert (batch.request_counts.completed, batch.request_counts.failed) == (3, 1)
    assert len(await lines(batch.output_file_id)) == 3
    errors = await lines(batch.error_file_id)
    codes = sorted(line["error"]["code"] if line["error"] else "" for line in errors)
    assert codes == ["", *[f"batch_{outcome}"] * 6]
    assert getattr(batch, f"{outcome}_at") > batch.in_progress_at
    assert batch.usage.total_tokens > 0


async def test_a_batch_that_ends_before_any_line_ran(finished, lines):
    batch = await finished("outcome=expired done=0")
    assert batch.output_file_id is None
    assert len(await lines(batch.error_file_id)) == 10


async def test_a_batch_that_fails(finished):
    batch = await finished("outcome=failed")
    assert (batch.status, batch.errors.data[0].code) == ("failed", "token_limit_exceeded")


async def test_file_ids_that_lag(finished, client):
    batch = await finished("lag=2")
    seen = [batch] + [await client.batches.retrieve(batch.id) for _ in range(2)]
    assert [one.output_file_id is not None for one in seen] == [False, False, True]
    assert {(one.status, one.request_counts.completed) for one in seen} == {("completed", 10)}


async def test_spoilt_output_lines(finished, client, sandbox):
    batch = await finished("malformed=2 no_usage=3")
    raw = (await client.files.content(batch.output_file_id)).content.split(b"\n")[:-1]
    assert len(raw) == 10
    readable = []
    for line in raw:
        try:
            readable.append(json.loads(line))
        except ValueError:
            continue
    usages = [line["response"]["body"]["usage"] for line in readable]
    assert (len(readable), usages.count(None)) == (8, 3)
    totals = await sandbox.engine.totals(batch.id)
    assert (totals.lines, totals.succeeded, totals.malformed, totals.without_usage) == (10, 8, 2, 3)
    assert totals.usage.input_tokens == sum(usage["prompt_tokens"] for usage in usages if usage)
    assert batch.usage.input_tokens == totals.billed.input_tokens > totals.usage.input_tokens


async def test_downloads_that_break_off(finished, client):
    batch = await finished("truncate=1")
    with pytest.raises(openai.APIConnectionError):
        await client.files.content(batch.output_file_id)
    assert (await client.files.content(batch.output_file_id)).content.count(b"\n") == 10


async def test_downloads_that_are_slow(finished, client):
    batch = await finished("slow=0.02")
    assert (await client.files.content(batch.output_file_id)).content.count(b"\n") == 10


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("rate_limit retry_after=7", openai.RateLimitError, "rate_limit_exceeded"),
        ("quota", openai.RateLimitError, "insufficient_quota"),
        ("server_error", openai.InternalServerError, None),
        ("unavailable", openai.InternalServerError, None),
    ],
)
async def test_requests_that_fail_once(client, sandbox, fault, error, code):
    sandbox.engine.faults.add(fault)
    with pytest.raises(error) as caught:
        await client.batches.list()
    assert caught.value.code == code
    assert caught.value.response.headers.get("retry-after") == ("7" if "retry_after" in fault else None)
    assert (await client.batches.list()).data == []


async def test_faults_choose_their_requests(client, sandbox, submit):
    sandbox.engine.faults.add("server_error*2 GET /v1/batches/*")
    batch = await submit()
    await client.batches.list()
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            await client.batches.retrieve(batch.id)
    assert (await client.batches.retrieve(batch.id)).id == batch.id


async def test_a_dropped_connection_did_nothing(client, sandbox, submit):
    sandbox.engine.faults.add("drop POST /v1/batches")
    with pytest.raises(openai.APIConnectionError):
        await submit()
    assert (await client.batches.list()).data == []


async def test_a_lost_answer_made_the_batch(client, sandbox, submit):
    sandbox.engine.faults.add("lose_answer POST /v1/batches")
    with pytest.raises(openai.APIConnectionError):
        await submit(metadata={"batchmeter_id": "intent-1"})
    [batch] = (await client.batches.list()).data
    assert batch.metadata == {"batchmeter_id": "intent-1"}


async def test_the_sdk_retries_what_the_header_asks_for(sandbox):
    headers = {"x-sandbox-fault": "rate_limit*2 retry_after=0.01"}
    async with openai.AsyncOpenAI(base_url=sandbox.url, api_key="any", default_headers=headers) as client:
        answer = await client.batches.with_raw_response.list()
    assert answer.retries_taken == 2


async def test_the_header_scripts_a_batch(client, clock, submit, sandbox):
    batch = await submit(extra_headers={"x-sandbox-script": "fail=0.5"})
    clock.advance(5000)
    assert (await client.batches.retrieve(batch.id)).request_counts.failed == 5


async def test_metadata_is_laid_over_the_sandboxs_own_script(clock):
    async with (
        serve_sandbox(script="fail=0.5 lag=1", clock=clock, speed=1) as sandbox,
        openai.AsyncOpenAI(base_url=sandbox.url, api_key="any") as client,
    ):
        file = await client.files.create(file=("a.jsonl", jsonl([request(1)])), purpose="batch")
        asked = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": file.id}
        batch = await client.batches.create(**asked, metadata={"sandbox": "fail=1"})
        clock.advance(5000)
        assert (await client.batches.retrieve(batch.id)).error_file_id is None
        assert (await client.batches.retrieve(batch.id)).error_file_id is not None


def test_trouble_from_another_process():
    with sandbox_thread() as sandbox, openai.OpenAI(base_url=sandbox.url, api_key="any", max_retries=0) as client:
        where = sandbox.url.replace("/v1", "/sandbox/faults")
        client.post(where, body={"fault": "server_error GET /v1/files"}, cast_to=object)
        with pytest.raises(openai.InternalServerError):
            client.files.list()
        with pytest.raises(openai.BadRequestError, match="not a sandbox fault"):
            client.post(where, body={"fault": "earthquake"}, cast_to=object)
