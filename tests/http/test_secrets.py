"""Passwords and signatures in URLs show nowhere: not in httpx's own log, nor in what objects say of themselves."""

import logging

import httpx
import httpx2
import pytest
from pydantic import SecretStr

from batchmeter.calls.submission import submission_of
from batchmeter.http import HttpClient, origin_of
from batchmeter.models import Batch
from batchmeter.providers import AccountSettings, BatchRequest, CallOptions
from batchmeter.testing.wire import Answer, Script, serving
from batchmeter_azure.provider import AzureProvider
from batchmeter_azure.settings import AzureSettings
from batchmeter_azure.storage import BlobStore
from batchmeter_openai.shapes import as_batch

SECRET = "SECRETSECRET42"


async def no_auth() -> dict[str, str]:
    return {}


@pytest.fixture
def told(caplog):
    """Lines that httpx logs, whatever a vendor's SDK has set in this process."""
    for name in ("httpx", "httpx2"):
        caplog.set_level(logging.INFO, logger=name)
    return caplog


async def test_a_signed_url_is_logged_without_its_signature(library, told):
    script = Script([Answer(body=b"x")])
    async with serving(script) as url:
        store = BlobStore(no_auth, SecretStr(f"sv=2024&sig={SECRET}"), {origin_of(url)})
        async with store.open(f"{url}/out/results.jsonl", may_be_missing=False) as content:
            assert b"".join([chunk async for chunk in content.chunks]) == b"x"
        await store.aclose()
    assert SECRET in script.received[0].target
    assert f"{url}/out/results.jsonl" in told.text
    assert SECRET not in told.text


@pytest.mark.parametrize("kind", [httpx, httpx2])
async def test_an_account_s_password_is_not_logged_an_app_s_requests_are(kind, told):
    async with serving(Script([Answer(body=b"{}")])) as url, kind.AsyncClient() as lent:
        client = HttpClient(url.replace("://", f"://user:{SECRET}@"), client=lent)
        await client.request("GET", "batches", params={"key": SECRET})
        assert SECRET not in told.text
        assert "/batches" in told.text
        await lent.get(f"{url}/mine?page=2")
    assert "/mine?page=2" in told.text


@pytest.mark.parametrize(
    "shown",
    [
        HttpClient(f"http://user:{SECRET}@host/v1", headers={"x-key": SECRET}, params={"sig": SECRET}),
        AccountSettings(api_base=f"http://user:{SECRET}@host/v1?sig={SECRET}", headers={"x-key": SECRET}),
        AzureSettings(output_folder=f"https://host/out?sig={SECRET}", api_key=SecretStr(SECRET)),
        CallOptions(extra_headers={"authorization": SECRET}, extra_query={"sig": SECRET}),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_what_objects_say_of_themselves(shown):
    assert SECRET not in f"{shown!r} {shown}"


@pytest.mark.parametrize("by", ["input_file_id", "input_blob"])
def test_a_signature_is_not_kept_nor_is_a_second_try_that_needs_it(by):
    settings = AzureSettings(endpoint="https://x.openai.azure.com", retry_queue_full=60, output_folder="https://b/out")
    provider = AzureProvider("azure", settings)
    blob = f"https://b/in/a.jsonl?sig={SECRET}"
    extra = {"input_blob": blob} if by == "input_blob" else {}
    request = BatchRequest(None if extra else blob, "/chat/completions")
    submission = submission_of(provider, request, None, None, extra)
    assert submission.input_file_id == "https://b/in/a.jsonl"
    assert submission.again is None
    plain = submission_of(provider, BatchRequest("https://b/in/a.jsonl", "/chat/completions"), None, None, {})
    assert plain.again is not None


def test_nor_is_one_that_a_batch_repeats():
    batch = as_batch({"id": "b", "status": "validating", "input_blob": f"https://b/in/a.jsonl?sig={SECRET}"})
    assert isinstance(batch, Batch)
    assert SECRET not in batch.model_dump_json()
