"""Whole batches at xAI: by OpenAI's SDK through the proxy, to their exact cost and to xAI's own."""

import json
from decimal import Decimal

import pytest
from tests.vendor_kit import client_of, sdk_of, submit_by_command

from batchmeter import errors
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.recorder import Recorder
from batchmeter_xai.settings import XAISettings

from .site import KEY

CHAT = "/v1/chat/completions"
IMAGES = "/v1/images/generations"
PLAIN = CallOptions()


def lines(*models, url=CHAT):
    asked = {"prompt": "a cat"} if url == IMAGES else {"messages": [{"role": "user", "content": "hi"}]}
    rows = [
        {"custom_id": f"r-{n}", "method": "POST", "url": url, "body": {"model": model, **asked}}
        for n, model in enumerate(models)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
async def client(xai, tmp_path, monkeypatch, recorder):
    monkeypatch.setenv("BATCHMETER_PLUGINS", "xai")
    account = {"api_base": xai.url, "api_key": KEY, "max_retries": 0}
    async with client_of(tmp_path, "xai", account, recorder) as opened:
        yield opened


@pytest.fixture
async def sdk(client):
    async with sdk_of(client) as opened:
        yield opened


async def ended(sdk, batch_id):
    while (batch := await sdk.batches.retrieve(batch_id)).status not in ("completed", "failed", "cancelled"):
        pass
    return batch


async def test_openais_sdk_runs_a_batch_through_the_proxy(client, sdk, recorder):
    content = lines("grok-4.3", "broken", "grok-4.3")
    file = await sdk.files.create(file=("in.jsonl", content), purpose="batch")
    batch = await sdk.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"team": "search"}
    )
    assert (batch.status, batch.endpoint, batch.metadata) == ("validating", CHAT, {"team": "search"})
    done = await ended(sdk, batch.id)
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("completed", 2, 1)
    good = [json.loads(line) for line in (await sdk.files.content(done.output_file_id)).content.splitlines()]
    bad = [json.loads(line) for line in (await sdk.files.content(done.error_file_id)).content.splitlines()]
    assert [(row["custom_id"], row["response"]["body"]["model"]) for row in good] == [
        ("r-0", "grok-4.3"),
        ("r-2", "grok-4.3"),
    ]
    assert [(row["custom_id"], row["error"]["code"]) for row in bad] == [("r-1", "3")]
    settlement = await client.batches.wait(batch.id, timeout=20)
    # Of each line 100 tokens at 1.00 and 20 + 30 of reasoning at 2.00, USD per million.
    assert settlement.cost.total == Decimal("0.0004")
    assert (settlement.usage.output_tokens, settlement.usage.reasoning_tokens) == (100, 60)
    assert settlement.request_counts.failed == 1
    assert settlement.reported_cost.total == Decimal("0.000352")
    assert await client.deliverer.drain(20)
    assert [(event.type, event.metadata) for event in recorder.events] == [
        ("acreate_batch", {"team": "search"}),
        ("batch_success", {"team": "search"}),
    ]


async def test_images_cost_what_xai_says(client, sdk):
    file = await sdk.files.create(file=("in.jsonl", lines("imagine", "imagine", url=IMAGES)), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint=IMAGES)
    await ended(sdk, batch.id)
    settlement = await client.batches.wait(batch.id, timeout=20)
    assert settlement.cost.total == Decimal("0.04")
    assert "vendor_reported" in settlement.cost.flags


async def test_a_batch_that_xai_cancels_has_failed(xai, client, sdk):
    xai.invalid = "Model grok-4.6 is not supported for batch processing"
    file = await sdk.files.create(file=("in.jsonl", lines("grok-4.6")), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    done = await ended(sdk, batch.id)
    assert (done.status, done.errors.data[0].message) == ("failed", xai.invalid)


async def test_a_cancelled_batch_is_settled(client, sdk):
    file = await sdk.files.create(file=("in.jsonl", lines("grok-4.3")), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    await sdk.batches.retrieve(batch.id)
    assert (await sdk.batches.cancel(batch.id)).status == "cancelled"


async def test_a_lost_create_is_found_by_its_name(xai, client):
    file = await client.files.create(file=("in.jsonl", lines("grok-4.3")))
    for _ in range(3):
        await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    xai.lost = 1
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, metadata={"team": "search"})
    assert (batch.id, batch.metadata) == (list(xai.batches)[-1], {"team": "search"})
    assert len(xai.batches) == 4


async def test_one_create_too_many_is_tried_again(xai, client):
    naps = []

    async def nap(seconds):
        naps.append(seconds)

    (await client.ready()).sleep = nap
    xai.refuses = 2
    file = await client.files.create(file=("in.jsonl", lines("grok-4.3")))
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    assert batch.id in xai.batches
    assert naps == [1.0, 1.0]


async def test_results_are_read_page_by_page(xai, account):
    xai.page = 2
    xai.files["file_1"] = {"id": "file_1"}
    xai.content["file_1"] = lines(*["grok-4.3"] * 7)
    batch = await account.create_batch(BatchRequest("file_1", CHAT), PLAIN)
    for _ in range(3):
        batch = await account.retrieve_batch(batch.id, PLAIN)
    (output,) = await account.outputs(batch)
    async with output.open() as stream:
        rows = b"".join([chunk async for chunk in stream.chunks]).splitlines()
    assert [json.loads(row)["batch_request_id"] for row in rows] == [f"r-{n}" for n in range(7)]
    asked = [one.query for one in xai.received if one.path.endswith("/results")]
    assert [one.get("pagination_token") for one in asked] == [None, "2", "4", "6"]


async def test_a_file_may_expire(xai, client):
    expiry = {"anchor": "created_at", "seconds": 3600}
    file = await client.files.create(file=("in.jsonl", lines("grok-4.3")), expires_after=expiry)
    assert file.expires_at == file.created_at + 3600


async def test_a_view_of_results_cannot_be_deleted(account):
    with pytest.raises(errors.NotSupportedError, match="view of a batch's results"):
        await account.delete_file("xai-output-batch_1", PLAIN)


def test_the_key_is_for_xais_own_host_only(monkeypatch):
    monkeypatch.setenv("XAI_API_KEY", "xai-env")
    assert XAISettings().api_key.get_secret_value() == "xai-env"
    assert XAISettings(api_base="https://gateway.example/v1").api_key is None


async def test_the_command_line_submits_and_waits(xai, tmp_path):
    xai.fast = True
    account = {"api_base": xai.url, "api_key": KEY}
    settlement = await submit_by_command(tmp_path, "xai", account, lines("grok-4.3"))
    assert (settlement["status"], settlement["cost"]["total"]) == ("completed", "0.0002")
