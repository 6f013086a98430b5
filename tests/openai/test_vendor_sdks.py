"""Compatible vendors' own SDKs as clients of the server that the profiles are tested with: its shapes are theirs."""

import json
from urllib.parse import urlsplit

import pytest

from batchmeter.testing.wire import serving

from .test_profiles import ROWS, VENDORS, requests_of
from .vendor_site import KEY, Vendor

ENDED = ("completed", "COMPLETED")


@pytest.fixture
async def vendor(request):
    site = Vendor(ROWS[request.param], VENDORS[request.param][0])
    async with serving(site) as url:
        site.url = url + urlsplit(ROWS[request.param].base).path
        yield site


async def run(sdk, vendor, uploaded, **asked):
    """A batch from its upload to its answers; another is cancelled; ids of both and their last words."""
    _, url = requests_of(vendor)
    made = [await sdk.batches.create(input_file_id=uploaded.id, endpoint=url, **asked) for _ in range(2)]
    first, second = (getattr(one, "job", None) or one for one in made)
    for _ in range(5):
        seen = await sdk.batches.retrieve(first.id)
        if seen.status in ENDED:
            break
    cancelled = await sdk.batches.cancel(second.id)
    return [first.id, second.id], seen, cancelled


@pytest.mark.parametrize("vendor", ["groq"], indirect=True)
async def test_groqs_sdk_runs_a_batch(vendor):
    groq = pytest.importorskip("groq", reason="groq is in the test group")
    async with groq.AsyncGroq(base_url=vendor.url.removesuffix("/openai/v1"), api_key=KEY) as sdk:
        file = await sdk.files.create(file=("in.jsonl", requests_of(vendor)[0]), purpose="batch")
        ids, seen, cancelled = await run(sdk, vendor, file, completion_window="24h")
        listed = await sdk.batches.list()
        content = await (await sdk.files.content(seen.output_file_id)).read()
    assert {one.id for one in listed.data} == set(ids)
    assert (seen.status, seen.request_counts.completed) == ("completed", 2)
    assert cancelled.status in ("cancelling", "cancelled")
    assert [json.loads(line)["custom_id"] for line in content.splitlines()] == ["request-0", "request-1"]


@pytest.mark.parametrize("vendor", ["together"], indirect=True)
async def test_togethers_sdk_uploads_in_three_steps(vendor, tmp_path):
    together = pytest.importorskip("together", reason="together is in the test group")
    path = tmp_path / "in.jsonl"
    path.write_bytes(requests_of(vendor)[0])
    async with together.AsyncTogether(base_url=vendor.url.removesuffix("/v1"), api_key=KEY) as sdk:
        file = await sdk.files.upload(path, purpose="batch-api", check=False)
        ids, seen, cancelled = await run(sdk, vendor, file)
        listed = await sdk.batches.list()
        response = await sdk.files.content(seen.output_file_id)
        content = await response.read()
    assert {one.id for one in listed} == set(ids)
    assert (seen.status, cancelled.status) == ("COMPLETED", "CANCELLED")
    assert len(content.splitlines()) == 2


@pytest.mark.parametrize("vendor", ["perplexity"], indirect=True)
async def test_perplexitys_sdk_runs_a_batch(vendor):
    perplexity = pytest.importorskip("perplexity", reason="perplexityai is in the test group")
    async with perplexity.AsyncPerplexity(base_url=vendor.url.removesuffix("/v1"), api_key=KEY) as sdk:
        file = await sdk.files.create(file=("in.jsonl", requests_of(vendor)[0]), purpose="batch")
        ids, seen, cancelled = await run(sdk, vendor, file, completion_window="24h")
        listed = [one.id for one in (await sdk.batches.list()).data]
    assert (listed, seen.status) == (ids[::-1], "completed")
    assert cancelled.status in ("cancelling", "cancelled")
