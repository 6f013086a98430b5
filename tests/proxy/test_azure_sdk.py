"""Azure OpenAI's own clients work against the proxy: their header, their paths, their query."""

import pytest
from tests.cases import case

import openai

CHAT = "/v1/chat/completions"


@pytest.fixture
def azure(http):
    """`azure(endpoint, key)`: the official client of Azure OpenAI."""

    def make(endpoint="http://proxy", key="any"):
        return openai.AsyncAzureOpenAI(
            azure_endpoint=endpoint, api_key=key, api_version="2025-04-01-preview", http_client=http, max_retries=0
        )

    return make


async def through(sdk, content):
    file = await sdk.files.create(file=("in.jsonl", content), purpose="batch")
    assert (await sdk.files.content(file.id)).content == content
    batch = await sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    assert (await sdk.batches.retrieve(batch.id)).id == batch.id
    assert batch.id in [one.id async for one in sdk.batches.list()]
    return batch.id


async def test_files_and_batches_go_through(azure, lines, client):
    batch_id = await through(azure(), lines(2))
    assert (await client.ledger.get_batch(batch_id)).account == "openai"


async def test_the_endpoint_may_name_an_account(azure, lines, client):
    batch_id = await through(azure("http://proxy/other"), lines(2))
    assert (await client.ledger.get_batch(batch_id)).account == "other"


async def test_a_key_is_taken_from_its_header(azure, caller, lines):
    ada = await caller(owner="ada")
    await through(azure(key=ada.secret), lines(2))
    with pytest.raises(openai.AuthenticationError):
        await azure(key="wrong").files.list()


async def test_what_a_path_says_of_the_account(client):
    for path, headers, account in [
        ("/openai/v1/models", {}, "openai"),
        ("/openai/v1/models?api-version=preview", {}, None),
        ("/openai/v1/models", {"api-key": "any"}, None),
        ("/openai/models", {"api-key": "any"}, None),
        ("/other/openai/models", {"api-key": "any"}, "other"),
        ("/other/openai/v1/models", {"api-key": "any"}, "other"),
        ("/openai/openai/models", {"api-key": "any"}, "openai"),
        ("/other/v1/models", {"api-key": "any"}, "other"),
    ]:
        with case(path, headers, account):
            import httpx2
            from starlette.responses import JSONResponse

            from batchmeter_proxy import Route, create_app

            async def tell(call):
                return JSONResponse({"account": call.account})

            transport = httpx2.ASGITransport(create_app(client, routes=[Route("GET", "/models", tell, "Tells")]))
            async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
                answer = await http.get(path, headers=headers)
                assert answer.json() == {"account": account}
