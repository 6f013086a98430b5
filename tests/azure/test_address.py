"""Endpoints in all their spellings, and what the wire then shows."""

import json

import pytest

import openai
from batchmeter import errors
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.wire import Answer, Script, serving
from batchmeter_azure import AzureProvider, AzureSettings
from batchmeter_azure.address import address

HOST = "https://my-resource.openai.azure.com"


@pytest.mark.parametrize(
    ("endpoint", "version", "base", "query"),
    [
        (HOST, "2024-10-21", f"{HOST}/openai", {"api-version": "2024-10-21"}),
        (f"{HOST}/", "2025-04-01-preview", f"{HOST}/openai", {"api-version": "2025-04-01-preview"}),
        (f"{HOST}/openai", "2024-10-21", f"{HOST}/openai", {"api-version": "2024-10-21"}),
        (f"{HOST}/openai/deployments/batch4o", "2024-10-21", f"{HOST}/openai", {"api-version": "2024-10-21"}),
        (HOST, None, f"{HOST}/openai/v1", {}),
        (HOST, "v1", f"{HOST}/openai/v1", {}),
        (HOST, "preview", f"{HOST}/openai/v1", {"api-version": "preview"}),
        (f"{HOST}/openai/v1/", None, f"{HOST}/openai/v1", {}),
        (f"{HOST}/openai/v1", "preview", f"{HOST}/openai/v1", {"api-version": "preview"}),
        ("https://r.services.ai.azure.com/openai/v1", None, "https://r.services.ai.azure.com/openai/v1", {}),
        ("https://gw.example.com/openai-gw/team", None, "https://gw.example.com/openai-gw/team/openai/v1", {}),
        ("http://127.0.0.1:9/openai", "2024-10-21", "http://127.0.0.1:9/openai", {"api-version": "2024-10-21"}),
    ],
)
def test_both_kinds_of_url(endpoint, version, base, query):
    assert address("a", AzureSettings(endpoint=endpoint, api_version=version)) == (base, query)


def test_a_version_from_the_environment_does_not_break_v1(monkeypatch):
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    assert address("a", AzureSettings(endpoint=HOST)) == (f"{HOST}/openai", {"api-version": "2024-10-21"})
    assert address("a", AzureSettings(endpoint=f"{HOST}/openai/v1")) == (f"{HOST}/openai/v1", {})


def test_a_version_that_contradicts_the_endpoint():
    with pytest.raises(errors.ConfigError, match="v1 API, which has no version '2024-10-21'"):
        address("a", AzureSettings(endpoint=f"{HOST}/openai/v1", api_version="2024-10-21"))


def test_a_missing_endpoint_names_its_variable():
    with pytest.raises(errors.ConfigError, match=r"AZURE_OPENAI_ENDPOINT, or endpoint under \[accounts.azure-eu\]"):
        AzureProvider("azure-eu", AzureSettings())


@pytest.mark.parametrize("bad", ["my-resource.openai.azure.com", "ftp://x", "https://"])
def test_an_endpoint_that_is_no_url(bad):
    with pytest.raises(errors.ConfigError, match="is not a URL such as https://my-resource"):
        AzureProvider("a", AzureSettings(endpoint=bad))


def test_settings_from_the_environment(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", HOST)
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    provider = AzureProvider("azure", AzureSettings(region="data-zone-eu"))
    assert (provider.endpoint, provider.region) == (f"{HOST}/openai", "data-zone-eu")


def test_a_calls_own_address_beats_the_environment(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", HOST)
    assert AzureProvider("a", AzureSettings(api_base="https://other.openai.azure.com")).endpoint.startswith(
        "https://other"
    )


def test_deployments_are_priced_as_their_models(account):
    provider = account(deployments={"batch4o": "gpt-4o-2024-08-06"})
    assert provider.price_model("batch4o") == "gpt-4o-2024-08-06"
    assert provider.price_model("gpt-4o-2024-05-13") == "gpt-4o-2024-05-13"


async def test_it_sends_what_the_official_sdk_sends():
    """Method, address, query and credentials of AzureOpenAI, for every batch operation."""
    answers = [Answer(body=json.dumps({"id": "file-1", "status": "processed", "data": []}).encode())]
    ours, theirs = Script(answers), Script(answers)
    plain = CallOptions()
    async with serving(ours) as url:
        provider = AzureProvider("a", AzureSettings(endpoint=url, api_version="2024-10-21", api_key="key-0123456789"))
        await provider.retrieve_file("file-1", plain)
        await provider.create_batch(BatchRequest("file-1", "/chat/completions"), plain)
        await provider.cancel_batch("batch_1", plain)
        await provider.list_batches(after="batch_0", limit=3, options=plain)
        await provider.aclose()
    kind = {"api_version": "2024-10-21", "api_key": "key-0123456789", "azure_deployment": "batch4o"}
    async with serving(theirs) as url, openai.AsyncAzureOpenAI(azure_endpoint=url, **kind) as sdk:
        await sdk.files.retrieve("file-1")  # ours looks twice: once because it was asked, once before the create
        await sdk.files.retrieve("file-1")
        await sdk.batches.create(input_file_id="file-1", endpoint="/chat/completions", completion_window="24h")  # type: ignore[arg-type]
        await sdk.batches.cancel("batch_1")
        await sdk.batches.list(after="batch_0", limit=3)

    def essence(request):
        body = json.loads(request.body) if request.body else None
        return request.method, request.path, request.query, request.headers.get("api-key"), body

    assert [essence(request) for request in ours.received] == [essence(request) for request in theirs.received]
