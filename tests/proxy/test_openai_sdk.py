"""The official SDK with nothing changed but its base_url."""

import pytest

import openai

CHAT = "/v1/chat/completions"


@pytest.fixture
def submit(sdk, lines):
    async def run(count: int = 3, **more):
        file = await sdk.files.create(file=("in.jsonl", lines(count)), purpose="batch")
        asked = {"endpoint": CHAT, "completion_window": "24h", **more}
        return await sdk.batches.create(input_file_id=file.id, **asked)

    return run


async def test_a_batch_from_upload_to_output(sdk, clock, recorder, client, lines):
    file = await sdk.files.create(file=("in.jsonl", lines(3)), purpose="batch")
    assert (file.object, file.purpose, file.filename, file.bytes) == ("file", "batch", "in.jsonl", len(lines(3)))
    batch = await sdk.batches.create(
        input_file_id=file.id,
        endpoint=CHAT,
        completion_window="24h",
        metadata={"run": "7"},
        extra_headers={"x-batchmeter-tags": "nightly, eu"},
    )
    assert (batch.status, batch.metadata) == ("validating", {"run": "7"})
    clock.advance(2000)
    done = await sdk.batches.retrieve(batch.id)
    assert (done.status, done.request_counts.completed) == ("completed", 3)
    async with sdk.files.with_streaming_response.content(done.output_file_id) as answer:
        output = b"".join([chunk async for chunk in answer.iter_bytes()])
    assert output == (await sdk.files.content(done.output_file_id)).content
    assert output.count(b"\n") == 3
    await client.tracker.idle()
    await client.deliverer.drain(10)
    assert recorder.types == ["acreate_batch", "batch_success"]
    assert recorder.endings[0].request_counts.succeeded == 3
    assert recorder.events[0].attribution.tags == recorder.endings[0].attribution.tags == ("nightly", "eu")
    assert recorder.events[0].metadata == {"run": "7"}


async def test_lists_page_by_page(sdk, submit):
    made = [(await submit(1)).id for _ in range(5)]
    assert [batch.id async for batch in sdk.batches.list(limit=2)] == made[::-1]
    page = await sdk.batches.list(limit=3)
    assert (len(page.data), page.has_more) == (3, True)
    files = [file.id async for file in sdk.files.list(limit=2, purpose="batch", order="asc")]
    assert len(set(files)) == 5
    assert [file.id async for file in sdk.files.list(order="desc")] == files[::-1]


async def test_cancel_and_delete(sdk, submit, clock):
    batch = await submit()
    assert (await sdk.batches.cancel(batch.id)).status == "cancelling"
    assert (await sdk.batches.retrieve(batch.id)).status == "cancelling"
    clock.advance(1000)
    assert (await sdk.batches.retrieve(batch.id)).status == "cancelled"
    gone = await sdk.files.delete(batch.input_file_id)
    assert (gone.id, gone.deleted) == (batch.input_file_id, True)
    with pytest.raises(openai.NotFoundError):
        await sdk.files.retrieve(batch.input_file_id)


async def test_files_expire_as_asked(sdk, lines):
    file = await sdk.files.create(
        file=("in.jsonl", lines(1)), purpose="batch", expires_after={"anchor": "created_at", "seconds": 7200}
    )
    assert file.expires_at == file.created_at + 7200


async def test_other_purposes_are_not_checked(sdk):
    file = await sdk.files.create(file=("notes.txt", b"no JSON here"), purpose="user_data")
    assert (await sdk.files.content(file.id)).content == b"no JSON here"


async def test_a_provider_error_comes_through_whole(sdk, sandbox):
    sandbox.engine.faults.add("rate_limit*1 GET /v1/batches retry_after=7")
    with pytest.raises(openai.RateLimitError) as caught:
        await sdk.batches.list()
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.request_id.startswith("req_")
    assert caught.value.body["code"] == "rate_limit_exceeded"
    with pytest.raises(openai.NotFoundError, match="batch_nobody"):
        await sdk.batches.retrieve("batch_nobody")


async def test_the_sdk_tries_again_what_may_be_tried(http, sandbox):
    sandbox.engine.faults.add("rate_limit*1 GET /v1/batches retry_after=0.01")
    patient = openai.AsyncOpenAI(base_url="http://proxy/v1", api_key="k", http_client=http, max_retries=1)
    assert (await patient.batches.list()).data == []


async def test_the_same_idempotency_key_makes_one_batch_and_one_file(sdk, lines, app, client):
    again = {"Idempotency-Key": "a-1"}
    files = [
        await sdk.files.create(file=("in.jsonl", lines(2)), purpose="batch", extra_headers=again) for _ in range(2)
    ]
    assert files[0] == files[1]
    asked = {"input_file_id": files[0].id, "endpoint": CHAT, "completion_window": "24h", "extra_headers": again}
    batches = [await sdk.batches.create(**asked) for _ in range(2)]
    assert batches[0].id == batches[1].id
    assert len((await sdk.batches.list()).data) == len((await sdk.files.list()).data) == 1
    other = await sdk.files.create(
        file=("in.jsonl", lines(2)), purpose="batch", extra_headers={"Idempotency-Key": "a-2"}
    )
    assert other.id != files[0].id


async def test_an_idempotency_key_of_another_request_is_refused(sdk, lines):
    again = {"Idempotency-Key": "m-1"}
    asked = {"purpose": "batch", "extra_headers": again}
    file = await sdk.files.create(file=("in.jsonl", lines(2)), **asked)
    create = {"endpoint": CHAT, "completion_window": "24h", "extra_headers": again}
    batch = await sdk.batches.create(input_file_id=file.id, **create)
    copy = await sdk.files.create(file=("in.jsonl", lines(2)), purpose="batch")
    assert (await sdk.batches.create(input_file_id=copy.id, **create)).id == batch.id  # the same requests
    other = await sdk.files.create(file=("in.jsonl", lines(3)), purpose="batch")
    for call in (
        lambda: sdk.files.create(file=("in.jsonl", lines(3)), **asked),
        lambda: sdk.files.create(file=("in.jsonl", lines(2)), **{**asked, "purpose": "user_data"}),
        lambda: sdk.batches.create(input_file_id=other.id, **create),
        lambda: sdk.batches.create(input_file_id=file.id, metadata={"day": "2"}, **create),
    ):
        with pytest.raises(openai.ConflictError) as caught:
            await call()
        assert caught.value.code == "idempotency_mismatch"
    assert (await sdk.batches.list()).data == [batch]


async def test_a_refused_upload_frees_its_idempotency_key(sdk, lines):
    again = {"Idempotency-Key": "b-1"}
    with pytest.raises(openai.BadRequestError):
        await sdk.files.create(file=("in.jsonl", b"{"), purpose="batch", extra_headers=again)
    assert (await sdk.files.create(file=("in.jsonl", lines(1)), purpose="batch", extra_headers=again)).bytes > 0
