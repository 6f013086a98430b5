"""Whole batches at Mistral: chat, pages and seconds of sound, inline requests, lost creates, missing lines."""

import json
from decimal import Decimal

import pytest
from tests.vendor_kit import client_of, sdk_of, settled, submit_by_command

import openai
from batchmeter.testing.recorder import Recorder
from batchmeter_mistral.settings import MistralSettings

from .site import KEY

CHAT = "/v1/chat/completions"


def lines(*models, url=CHAT, **body):
    asked = {"messages": [{"role": "user", "content": "hi"}]} if url == CHAT else {"document": {}}
    rows = [
        {"custom_id": f"r-{n}", "method": "POST", "url": url, "body": {"model": model, **asked, **body}}
        for n, model in enumerate(models)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
async def client(mistral, tmp_path, monkeypatch, recorder):
    monkeypatch.setenv("BATCHMETER_PLUGINS", "mistral")
    account = {"api_base": mistral.url, "api_key": KEY, "max_retries": 0, "retry_queue_full": 60}
    async with client_of(tmp_path, "mistral", account, recorder) as opened:
        yield opened


@pytest.fixture
async def sdk(client):
    async with sdk_of(client) as opened:
        yield opened


async def test_openais_sdk_runs_a_batch_through_the_proxy(mistral, client, sdk, recorder):
    content = lines("mistral-small-latest", "mistral-small-latest", max_completion_tokens=9, user="u")
    file = await sdk.files.create(file=("in.jsonl", content), purpose="batch")
    assert (file.filename, file.bytes) == ("in.jsonl", len(content))
    first = json.loads((await sdk.files.content(file.id)).content.splitlines()[0])
    assert (first["method"], first["url"], first["body"]["max_tokens"]) == ("POST", CHAT, 9)
    batch = await sdk.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"team": "search"}
    )
    assert (batch.status, batch.endpoint, batch.metadata) == ("validating", CHAT, {"team": "search"})
    settlement = await settled(client, batch.id)
    done = await sdk.batches.retrieve(batch.id)
    assert (done.status, done.request_counts.completed, done.completed_at) == ("completed", 2, done.created_at + 60)
    rows = [json.loads(line) for line in (await sdk.files.content(done.output_file_id)).content.splitlines()]
    assert [row["custom_id"] for row in rows] == ["r-0", "r-1"]
    # Of each line 100 tokens at 0.075 and 20 at 0.30, USD per million.
    assert settlement.cost.total == Decimal("0.000027")
    assert await client.deliverer.drain(20)
    assert [(event.type, event.metadata) for event in recorder.events] == [
        ("acreate_batch", {"team": "search"}),
        ("batch_success", {"team": "search"}),
    ]
    (sent,) = [json.loads(one.body) for one in mistral.received if (one.method, one.path) == ("POST", "/v1/batch/jobs")]
    assert (sent["timeout_hours"], sorted(sent["metadata"])) == (24, ["batchmeter_id", "team"])


async def test_failed_lines_are_in_the_error_file(client, sdk):
    file = await client.files.create(file=("in.jsonl", lines("broken", "broken")))
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    settlement = await settled(client, batch.id)
    done = await sdk.batches.retrieve(batch.id)
    assert (done.status, done.output_file_id, done.error_file_id is not None) == ("completed", None, True)
    assert (settlement.request_counts.failed, settlement.cost.total) == (2, Decimal(0))


@pytest.mark.parametrize(
    ("url", "model", "total"),
    [
        ("/v1/ocr", "mistral-ocr-latest", Decimal("0.012")),
        ("/v1/ocr", "mistral-ocr-of-nobody", None),
        ("/v1/audio/transcriptions", "voxtral-mini-transcribe-9", None),
    ],
)
async def test_pages_and_seconds_are_metered_or_unknown(client, url, model, total):
    """Two documents of three pages at 2,000 USD a million; what no list prices is unknown, with its reason."""
    file = await client.files.create(file=("in.jsonl", lines(model, model, url=url)))
    batch = await client.batches.create(input_file_id=file.id, endpoint=url)
    settlement = await settled(client, batch.id)
    assert settlement.cost.total == total
    assert settlement.cost.unknown == ({} if total is not None else {"unknown_model": 2})


async def test_inline_requests_have_no_file(client):
    asked = [{"custom_id": "a", "body": {"messages": [{"role": "user", "content": "hi"}]}}]
    batch = await client.batches.create(
        input_file_id=None, endpoint=CHAT, extra_body={"requests": asked, "model": "mistral-small-latest"}
    )
    settlement = await settled(client, batch.id)
    assert settlement.cost.total == Decimal("0.0000135")
    done = await client.batches.retrieve(batch.id)
    assert [
        json.loads(row)["custom_id"] for row in (await client.files.content(done.output_file_id)).text.splitlines()
    ] == ["a"]


async def test_a_timed_out_job_has_expired_with_output(mistral, client, sdk):
    mistral.end = "TIMEOUT_EXCEEDED"
    file = await client.files.create(file=("in.jsonl", lines("mistral-small-latest")))
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    settlement = await settled(client, batch.id)
    assert (settlement.status, settlement.cost.total) == ("expired", Decimal("0.0000135"))


async def test_a_lost_create_is_found_by_its_tag(mistral, client):
    file = await client.files.create(file=("in.jsonl", lines("mistral-small-latest")))
    for _ in range(2):
        await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    mistral.lost = 1
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    assert batch.id == list(mistral.jobs)[-1]
    assert len(mistral.jobs) == 3


async def test_a_create_that_too_much_is_pending_for_is_tried_again(mistral, client):
    naps = []

    async def nap(seconds):
        naps.append(seconds)

    (await client.ready()).sleep = nap
    mistral.pending = 1
    file = await client.files.create(file=("in.jsonl", lines("mistral-small-latest")))
    assert (await client.batches.create(input_file_id=file.id, endpoint=CHAT)).id in mistral.jobs
    assert naps == [15.0]


async def test_lists_page_by_ids(client, sdk):
    file = await client.files.create(file=("in.jsonl", lines("mistral-small-latest")))
    made = [(await client.batches.create(input_file_id=file.id, endpoint=CHAT)).id for _ in range(5)]
    assert [batch.id async for batch in sdk.batches.list(limit=2)] == made[::-1]


async def test_a_url_that_mistral_has_not_is_refused(mistral, sdk):
    with pytest.raises(openai.BadRequestError, match="/v1/responses"):
        await sdk.files.create(file=("in.jsonl", lines("m", url="/v1/responses")), purpose="batch")
    assert mistral.files == {}


def test_the_key_is_for_mistrals_own_host_only(monkeypatch):
    monkeypatch.setenv("MISTRAL_API_KEY", "env-key")
    assert MistralSettings().api_key.get_secret_value() == "env-key"
    assert MistralSettings(api_base="https://gateway.example/v1").api_key is None


async def test_the_command_line_submits_and_waits(mistral, tmp_path):
    mistral.fast = True
    account = {"api_base": mistral.url, "api_key": KEY}
    settlement = await submit_by_command(tmp_path, "mistral", account, lines("mistral-small-latest"))
    assert (settlement["status"], settlement["cost"]["total"]) == ("completed", "0.0000135")
