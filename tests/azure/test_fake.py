"""The fake resource answers what OpenAI's official SDK expects of Azure, over both kinds of URL."""

import json

import pytest

import openai
from batchmeter.testing.providers import lines_of

EXPIRY = {"anchor": "created_at", "seconds": 1_209_600}


@pytest.fixture(params=["classic", "classic with token", "v1"])
async def sdk(request, azure):
    key, token = "azure-key-0123456789", "entra-token-0123456789"
    if request.param == "v1":
        client = openai.AsyncOpenAI(base_url=f"{azure.url}/openai/v1", api_key=key)
    else:
        kind = {"api_key": key} if request.param == "classic" else {"azure_ad_token": token}
        client = openai.AsyncAzureOpenAI(azure_endpoint=azure.url, api_version=azure.version, **kind)
    async with client:
        yield client


async def test_the_official_sdk_drives_it(sdk, azure):
    file = await sdk.files.create(file=("a.jsonl", lines_of(2, "batch4o")), purpose="batch", expires_after=EXPIRY)
    assert file.status == "pending"
    with pytest.raises(openai.BadRequestError, match="processed"):
        await sdk.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    while (await sdk.files.retrieve(file.id)).status != "processed":
        pass
    batch = await sdk.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert batch.output_file_id == ""
    for _ in range(4):
        batch = await sdk.batches.retrieve(batch.id)
    assert batch.status == "completed"
    rows = [json.loads(line) for line in (await sdk.files.content(batch.output_file_id)).text.splitlines()]
    assert [row["custom_id"] for row in rows] == ["r-0", "r-1"]
    assert (await sdk.files.content(batch.error_file_id)).content == b""
    assert [found.id async for found in sdk.batches.list(limit=1)] == [batch.id]
    await sdk.files.delete(file.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.files.retrieve(file.id)


async def test_a_wrong_key(azure):
    async with openai.AsyncAzureOpenAI(azure_endpoint=azure.url, api_version=azure.version, api_key="no") as sdk:
        with pytest.raises(openai.AuthenticationError):
            await sdk.batches.list()


async def test_a_wrong_version(azure):
    async with openai.AsyncAzureOpenAI(azure_endpoint=azure.url, api_version="2023-05-15", api_key="no") as sdk:
        with pytest.raises(openai.NotFoundError, match="Resource not found"):
            await sdk.batches.list()
