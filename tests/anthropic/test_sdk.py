"""Anthropic's own SDK as the client of the fake: it keeps the fake honest, and sees what our provider has made."""

import pytest
from tests.later import Later

from batchmeter.providers import BatchRequest, CallOptions

from .fake import KEY

anthropic = Later("anthropic")

PARAMS = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
OPTIONS = CallOptions()


@pytest.fixture
def sdk(vendor):
    with anthropic.Anthropic(base_url=vendor.base, api_key=KEY, max_retries=0) as client:
        yield client


def test_the_fake_is_one_for_the_official_client(sdk, vendor):
    requests = [{"custom_id": f"r-{n}", "params": PARAMS} for n in range(3)]
    requests.append({"custom_id": "bad", "params": PARAMS | {"messages": [{"role": "user", "content": "FAIL"}]}})
    made = sdk.messages.batches.create(requests=requests)
    assert (made.processing_status, made.request_counts.processing) == ("in_progress", 4)
    with pytest.raises(anthropic.BadRequestError, match="has not ended"):
        sdk.messages.batches.delete(made.id)
    while (batch := sdk.messages.batches.retrieve(made.id)).processing_status != "ended":
        assert batch.request_counts.succeeded == 0
    results = list(sdk.messages.batches.results(made.id))
    assert [one.result.type for one in results] == ["errored", "succeeded", "succeeded", "succeeded"]
    assert results[1].result.message.content[0].text == "écho 🎈 hi"
    others = [sdk.messages.batches.create(requests=requests[:1]).id for _ in range(3)]
    newest = [*others[::-1], made.id]
    assert [one.id for one in sdk.messages.batches.list(limit=2)] == newest
    page = sdk.messages.batches.list(limit=1, before_id=made.id)
    assert [one.id for one in page] == others
    assert sdk.messages.batches.cancel(others[0]).cancel_initiated_at is not None
    assert sdk.messages.batches.delete(made.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        sdk.messages.batches.retrieve(made.id)


@pytest.mark.parametrize(
    "request_",
    [
        {"custom_id": "with space", "params": PARAMS},
        {"custom_id": "x" * 65, "params": PARAMS},
        {"custom_id": "a", "params": PARAMS | {"stream": True}},
    ],
)
def test_the_fake_refuses_what_the_vendor_refuses(sdk, request_):
    with pytest.raises(anthropic.BadRequestError):
        sdk.messages.batches.create(requests=[request_])
    with pytest.raises(anthropic.BadRequestError, match="unique"):
        sdk.messages.batches.create(requests=[{"custom_id": "a", "params": PARAMS}] * 2)


async def test_batches_of_our_provider_are_read_by_the_sdk(sdk, provider, upload, chat, vendor):
    rows = [chat("a", reasoning_effort="low", max_tokens=2000), chat("with space", temperature=0.5)]
    file = await provider.create_file(upload(rows), OPTIONS)
    batch = await provider.create_batch(BatchRequest(file.id, "/v1/chat/completions"), OPTIONS)
    vendor.end(batch.id)
    assert sdk.messages.batches.retrieve(batch.id).request_counts.succeeded == 2
    found = {one.custom_id: one.result.message.usage.input_tokens for one in sdk.messages.batches.results(batch.id)}
    assert found == {"a": 10, "bmx-o5uxi2baonygcy3f": 10}


async def test_batches_of_the_sdk_are_read_by_our_provider(sdk, provider, vendor):
    made = sdk.messages.batches.create(requests=[{"custom_id": "a", "params": PARAMS}])
    batch = await provider.retrieve_batch(made.id, OPTIONS)
    assert (batch.status, batch.input_file_id, batch.endpoint) == ("in_progress", None, "/v1/messages")
    vendor.end(made.id)
    batch = await provider.retrieve_batch(made.id, OPTIONS)
    async with provider.file_content(batch.output_file_id, OPTIONS) as content:
        lines = b"".join([chunk async for chunk in content.chunks])
    assert b'"type":"message"' in lines


@pytest.mark.parametrize("settings", [{}, {"api_key": None, "auth_token": KEY}, {"version": "2026-10-21"}])
async def test_one_credential_and_a_version_go_with_every_call(make, vendor, settings):
    account = make(**settings, beta=("output-300k-2026-03-24",), workspace_id="w-1")
    await account.list_batches(after=None, limit=1, options=OPTIONS)
    headers = vendor.seen[-1][2]
    assert ("x-api-key" in headers) != ("authorization" in headers)
    assert headers["anthropic-version"] == settings.get("version", "2023-06-01")
    assert (headers["anthropic-beta"], headers["anthropic-workspace-id"]) == ("output-300k-2026-03-24", "w-1")
