"""From an OpenAI file to OpenAI answers, through jobs and Cloud Storage."""

import json

import pytest

from batchmeter.errors import APIResponseError, BadRequestError, NotFoundError, NotSupportedError, UsageError
from batchmeter.providers import BatchRequest, CallOptions

OPTIONS = CallOptions()
CHAT = "/v1/chat/completions"


async def text_of(stream):
    async with stream as content:
        return b"".join([chunk async for chunk in content.chunks])


async def lines_of(stream):
    return [json.loads(line) for line in (await text_of(stream)).split(b"\n") if line]


async def submitted(provider, upload, rows, endpoint=CHAT, **request):
    file = await provider.create_file(upload(rows), OPTIONS)
    return await provider.create_batch(BatchRequest(file.id, endpoint, **request), OPTIONS)


async def test_a_batch_from_upload_to_answers(provider, upload, vertex, chat):
    data = b"".join(json.dumps(chat(name, text)).encode() + b"\n" for name, text in (("000123", "a"), ("b", "FAIL")))
    file = await provider.create_file(upload(data, filename="my input.jsonl"), OPTIONS)
    assert (file.filename, file.bytes, file.purpose, file.status) == ("my input.jsonl", len(data), "batch", "processed")

    metadata = {"run": "7", "Team": "Ops", "note": "Grüße, 3 %"}
    batch = await provider.create_batch(BatchRequest(file.id, CHAT, metadata=metadata), OPTIONS)
    assert (batch.status, batch.endpoint, batch.model) == ("validating", CHAT, "gemini-2.5-flash")
    assert batch.input_file_id == file.id
    assert batch.metadata == metadata

    vertex.advance(60)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    assert batch.status == "in_progress"
    assert batch.output_file_id is None

    vertex.advance(60)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    assert batch.status == "completed"
    assert batch.metadata == {"run": "7", "note": "Grüße, 3 %"}
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (2, 1, 1)
    assert batch.created_at + 120 == batch.completed_at

    [good] = await lines_of(provider.file_content(batch.output_file_id, OPTIONS))
    assert good["custom_id"] == "000123"
    assert good["response"]["status_code"] == 200
    body = good["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "echo a"
    assert body["usage"]["completion_tokens"] == 32
    assert body["created"] == 1795338000
    [bad] = await lines_of(provider.file_content(batch.error_file_id, OPTIONS))
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("b", 400)
    assert bad["response"]["body"]["error"]["message"] == "Please use a valid role."

    assert await text_of(provider.file_content(file.id, OPTIONS)) == data


async def test_native_rows_are_what_the_meter_gets(provider, upload, vertex, chat):
    vertex.shards = 3
    batch = await submitted(provider, upload, [chat(str(i)) for i in range(7)])
    vertex.advance(120)
    files = await provider.outputs(await provider.retrieve_batch(batch.id, OPTIONS))
    assert [file.kind for file in files] == ["output"] * 3
    rows = [row for file in files for row in await lines_of(file.open())]
    assert len(rows) == 7
    assert all(row["response"]["usageMetadata"]["thoughtsTokenCount"] == 30 for row in rows)


async def test_rows_exported_early_and_again_count_once(provider, upload, vertex, chat):
    batch = await submitted(provider, upload, [chat(f"r{i}") for i in range(5)])
    vertex.advance(120)
    [final] = vertex.bucket.names("batchmeter/outputs/")
    early = vertex.bucket.get(final).split(b"\n")[0]
    vertex.bucket.put(final.replace("predictions", "incremental_predictions"), early)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    [merged] = await provider.outputs(batch)
    assert len(await lines_of(merged.open())) == 5
    answers = await lines_of(provider.file_content(batch.output_file_id, OPTIONS))
    assert sorted(answer["custom_id"] for answer in answers) == [f"r{i}" for i in range(5)]


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ({"team": "search"}, 6),
        ({"cid": "customer-42", "cidade": "sp", "custom_id_group": "a"}, 6),
        ({"custom_id": "one"}, 1),
        ({"litellm_custom_id": "one", "litellm_custom_id_raw_0": "x"}, 1),
    ],
)
async def test_only_a_label_with_an_id_makes_rows_the_same(make, upload, vertex, labels, rows):
    """Other labels are the caller's own, the same on many rows; of those, one exported twice is the same to the byte."""
    asked = [{"contents": [{"role": "user", "parts": [{"text": str(i)}]}], "labels": labels} for i in range(6)]
    native = make(format="native")
    file = await native.create_file(upload([{"request": request} for request in asked]), OPTIONS)
    request = BatchRequest(file.id, "/v1/chat/completions", model="gemini-2.5-flash")
    batch = await native.create_batch(request, OPTIONS)
    vertex.advance(120)
    [final] = vertex.bucket.names("batchmeter/outputs/")
    early = vertex.bucket.get(final).split(b"\n")[0]
    vertex.bucket.put(final.replace("predictions", "incremental_predictions"), early)
    batch = await native.retrieve_batch(batch.id, OPTIONS)
    assert len(await lines_of(native.file_content(batch.output_file_id, OPTIONS))) == rows
    [merged] = await native.outputs(batch)
    assert len(await lines_of(merged.open())) == rows


@pytest.mark.parametrize("echo", ["custom_id", "labels"])
async def test_the_id_comes_back_by_either_way(provider, upload, vertex, chat, echo):
    vertex.echo = echo
    names = ["000123", "2026-11-22", "Ünï ✓", "x" * 120, "a/b c", "bmc-x"]
    batch = await submitted(provider, upload, [chat(name) for name in names])
    vertex.advance(120)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    answers = await lines_of(provider.file_content(batch.output_file_id, OPTIONS))
    assert sorted(answer["custom_id"] for answer in answers) == sorted(names)


async def test_embeddings_are_put_together_again(provider, upload, vertex):
    def line(name, inputs, **body):
        body = {"model": "gemini-embedding-001", "input": inputs, **body}
        return {"custom_id": name, "method": "POST", "url": "/v1/embeddings", "body": body}

    rows = [line("one", "a"), line("many", ["bb", "ccc", "dddd"], encoding_format="base64"), line("bad", ["x", "FAIL"])]
    batch = await submitted(provider, upload, rows, "/v1/embeddings")
    assert batch.endpoint == "/v1/embeddings"
    vertex.advance(120)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    answers = {a["custom_id"]: a for a in await lines_of(provider.file_content(batch.output_file_id, OPTIONS))}
    assert answers["one"]["response"]["body"]["data"][0]["embedding"] == [1.0, 0.5]
    many = answers["many"]["response"]["body"]
    assert [item["index"] for item in many["data"]] == [0, 1, 2]
    assert many["data"][2]["embedding"] == "AACAQAAAAD8="
    assert many["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    assert many["model"] == "gemini-embedding-001"
    [bad] = await lines_of(provider.file_content(batch.error_file_id, OPTIONS))
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("bad", 400)


async def test_claude(provider, upload, vertex, chat):
    batch = await submitted(provider, upload, [chat("c1", model="claude-haiku-4-5")])
    assert vertex.requests[-1][2]["model"] == "publishers/anthropic/models/claude-haiku-4-5"
    vertex.advance(120)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    [line] = await lines_of(provider.file_content(batch.output_file_id, OPTIONS))
    assert line["custom_id"] == "c1"
    assert line["response"]["body"]["usage"]["prompt_tokens"] == 10
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "hello"


async def test_native_rows_pass_untouched(make, upload, vertex):
    provider = make(format="native")
    row = {"custom_id": "mine", "request": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}}
    file = await provider.create_file(upload([row]), OPTIONS)
    with pytest.raises(UsageError, match="model="):
        await provider.create_batch(BatchRequest(file.id, CHAT), OPTIONS)
    batch = await provider.create_batch(BatchRequest(file.id, CHAT, model="gemini-2.5-flash"), OPTIONS)
    vertex.advance(120)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    assert batch.error_file_id is None
    [answer] = await lines_of(provider.file_content(batch.output_file_id, OPTIONS))
    assert (answer["custom_id"], answer["response"]["modelVersion"]) == ("mine", "gemini-2.5-flash")


async def test_extra_body_goes_on_top_of_the_job(provider, upload, vertex, chat):
    file = await provider.create_file(upload([chat("a")]), OPTIONS)
    extra = {"model": "gemini-2.5-pro", "labels": {"team": "x", "run": "mine"}, "displayName": "shown"}
    request = BatchRequest(file.id, CHAT, metadata={"run": "7"})
    batch = await provider.create_batch(request, CallOptions(extra_body=extra))
    job = vertex.jobs[batch.id]
    assert (job["model"], job["displayName"]) == ("publishers/google/models/gemini-2.5-pro", "shown")
    assert job["labels"] == {"team": "x", "run": "7", "batchmeter_endpoint": "chat_completions"}
    with pytest.raises(NotSupportedError, match="BigQuery"):
        await provider.create_batch(
            request, CallOptions(extra_body={"outputConfig": {"predictionsFormat": "bigquery"}})
        )


async def test_own_objects_are_files_too(provider, vertex):
    row = {"request": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}}
    name = "litellm/publishers/google/models/gemini-2.5-flash/abc"
    vertex.bucket.put(name, json.dumps(row).encode())
    uri = f"gs://{vertex.bucket.name}/{name}"
    batch = await provider.create_batch(BatchRequest(uri, CHAT), OPTIONS)
    assert batch.model == "gemini-2.5-flash"
    assert (await provider.retrieve_file(batch.input_file_id, OPTIONS)).id == batch.input_file_id
    quoted = uri.replace(":", "%3A").replace("/", "%2F")
    assert json.loads(await text_of(provider.file_content(quoted, OPTIONS))) == row


async def test_a_cancelled_job_keeps_what_it_finished(provider, upload, vertex, chat):
    batch = await submitted(provider, upload, [chat("a"), chat("b")])
    assert (await provider.cancel_batch(batch.id, OPTIONS)).status == "cancelling"
    vertex.advance(1)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    assert batch.status == "cancelled"
    assert batch.cancelled_at is not None
    assert len(await lines_of(provider.file_content(batch.output_file_id, OPTIONS))) == 1
    with pytest.raises(BadRequestError, match="already ended"):
        await provider.cancel_batch(batch.id, OPTIONS)


async def test_an_ended_job_can_be_deleted(provider, upload, vertex, chat):
    batch = await submitted(provider, upload, [chat("a")])
    with pytest.raises(BadRequestError, match="has not ended"):
        await provider.delete_batch(batch.id, OPTIONS)
    vertex.advance(120)
    await provider.delete_batch(batch.id, OPTIONS)
    with pytest.raises(NotFoundError):
        await provider.retrieve_batch(batch.id, OPTIONS)
    assert vertex.bucket.names("batchmeter/outputs"), "its answers stay"


async def test_a_failed_job_says_why_and_has_no_outputs(provider, upload, vertex, chat):
    vertex.end = "JOB_STATE_FAILED"
    batch = await submitted(provider, upload, [chat("a")])
    vertex.advance(120)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    assert batch.status == "failed"
    assert batch.errors.data[0].code == "invalid_argument"
    assert "Failed to import data" in batch.errors.data[0].message
    assert batch.output_file_id is None
    assert list(await provider.outputs(batch)) == []
    with pytest.raises(NotFoundError):
        await text_of(provider.file_content(f"vertex-output-{batch.id}", OPTIONS))


async def test_success_without_objects_is_an_error(provider, upload, vertex, chat):
    vertex.write = False
    batch = await submitted(provider, upload, [chat("a")])
    vertex.advance(120)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    with pytest.raises(APIResponseError, match="no object below"):
        await provider.outputs(batch)


async def test_jobs_page_by_the_last_id_seen(provider, upload, vertex, chat, make):
    ids = [(await submitted(provider, upload, [chat("a")])).id for _ in range(5)][::-1]
    first = await provider.list_batches(after=None, limit=2, options=OPTIONS)
    assert ([batch.id for batch in first], first.has_more) == (ids[:2], True)
    second = await provider.list_batches(after=first.last_id, limit=2, options=OPTIONS)
    assert ([batch.id for batch in second], second.has_more) == (ids[2:4], True)
    elsewhere = await make().list_batches(after=ids[2], limit=2, options=OPTIONS)
    assert ([batch.id for batch in elsewhere], elsewhere.has_more) == (ids[3:4], True)
    provider._jobs._newest_first._following[ids[1]] = "stale"
    again = await provider.list_batches(after=ids[1], limit=2, options=OPTIONS)
    assert [batch.id for batch in again] == ids[2:4]
    last = await provider.list_batches(after=ids[3], limit=2, options=OPTIONS)
    assert ([batch.id for batch in last], last.has_more) == (ids[4:], False)
    none = await provider.list_batches(after=ids[4], limit=2, options=OPTIONS)
    assert (list(none), none.has_more) == ([], False)
    with pytest.raises(NotFoundError, match="No such batch"):
        await provider.list_batches(after="1", limit=2, options=OPTIONS)


async def test_files_list_and_go(provider, upload, vertex, chat):
    made = [await provider.create_file(upload([chat("a")], filename=f"{i}.jsonl"), OPTIONS) for i in range(3)]
    other = await provider.create_file(upload(b"text", purpose="user_data"), OPTIONS)
    page = await provider.list_files(purpose="batch", after=None, limit=2, order=None, options=OPTIONS)
    assert len(page) == 2
    assert page.has_more
    rest = await provider.list_files(purpose="batch", after=page.last_id, limit=2, order=None, options=OPTIONS)
    assert {file.id for file in (*page, *rest)} == {file.id for file in made}
    assert (await provider.delete_file(made[0].id, OPTIONS)).deleted
    with pytest.raises(NotFoundError):
        await provider.retrieve_file(made[0].id, OPTIONS)
    assert (await provider.retrieve_file(other.id, OPTIONS)).purpose == "user_data"
    for file in (*made[1:], other):
        await provider.delete_file(file.id, OPTIONS)
    assert vertex.bucket.names() == []


async def test_answers_can_be_described_and_deleted(provider, upload, vertex, chat):
    batch = await submitted(provider, upload, [chat("a"), chat("b", "FAIL")])
    vertex.advance(120)
    batch = await provider.retrieve_batch(batch.id, OPTIONS)
    described = await provider.retrieve_file(batch.output_file_id, OPTIONS)
    assert described.purpose == "batch_output"
    assert described.bytes > 0
    with pytest.raises(NotSupportedError, match="delete that one"):
        await provider.delete_file(batch.error_file_id, OPTIONS)
    await provider.delete_file(batch.output_file_id, OPTIONS)
    assert vertex.bucket.names("batchmeter/outputs/") == []


async def test_a_model_that_google_does_not_have_is_404_at_create(provider, upload, chat):
    with pytest.raises(NotFoundError, match="gemini-missing is not found"):
        await submitted(provider, upload, [chat("a", model="gemini-missing")])


async def test_bigquery_is_refused_in_words(provider):
    with pytest.raises(NotSupportedError, match="BigQuery"):
        await provider.create_batch(BatchRequest("bq://p.d.t", CHAT), OPTIONS)


@pytest.mark.parametrize("name", ["file-abc", "gs-%%%", "gs-", "gs://", "batch_1", "gs-YQ"])
async def test_a_file_nobody_knows_is_404(provider, name):
    with pytest.raises(NotFoundError):
        await provider.retrieve_file(name, OPTIONS)


async def test_a_job_nobody_knows_is_404(provider):
    with pytest.raises(NotFoundError):
        await provider.retrieve_batch("17", OPTIONS)
    with pytest.raises(NotFoundError):
        await provider.retrieve_batch("../../x", OPTIONS)
