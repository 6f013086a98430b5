"""Our plugin at an Anthropic that others wrote: mock-ai-api, whose batches end when their results are read."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import httpx
import pytest

from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import lines_of, read_file, upload_of
from batchmeter_anthropic.provider import AnthropicProvider
from batchmeter_anthropic.settings import AnthropicSettings

CHAT = "/v1/chat/completions"
PLAIN = CallOptions()


@pytest.fixture
async def provider(tmp_path):
    try:
        version("mock-ai-api")
    except PackageNotFoundError:
        pytest.skip("mock-ai-api is in the test group")
    transport = httpx.ASGITransport(import_module("app.anthropic_app").app)
    settings = AnthropicSettings(api_key="sk-ant-x-0123456789", api_base="http://mock", spool=str(tmp_path))
    async with httpx.AsyncClient(transport=transport) as http:
        made = AnthropicProvider("anthropic", settings, http={"client": http})
        yield made
        await made.aclose()


async def test_batches_run_and_are_cancelled_listed_and_deleted(provider):
    file = await provider.create_file(upload_of(lines_of(3, "claude-haiku-4-5")), PLAIN)
    batch = await provider.create_batch(BatchRequest(file.id, CHAT), PLAIN)
    assert (batch.status, batch.request_counts.total) == ("in_progress", 3)
    async with provider._batches.results(batch.id, PLAIN) as content:
        assert [chunk async for chunk in content.chunks]
    ended = await provider.retrieve_batch(batch.id, PLAIN)
    assert (ended.status, ended.request_counts.completed) == ("completed", 3)
    assert (await read_file(provider, ended.output_file_id)).count(b'"finish_reason":"stop"') == 3
    other = await provider.create_batch(BatchRequest(file.id, CHAT), PLAIN)
    assert (await provider.cancel_batch(other.id, PLAIN)).status in {"cancelling", "cancelled"}
    listed = await provider.list_batches(after=None, limit=5, options=PLAIN)
    assert {batch.id, other.id} <= {one.id for one in listed}
    await provider.delete_batch(batch.id, PLAIN)
    listed = await provider.list_batches(after=None, limit=5, options=PLAIN)
    assert batch.id not in {one.id for one in listed}
