"""Azure through the SDK like any other provider: one submission, one ending, the exact cost of its deployment's model."""

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.vendor_kit import Haste

import batchmeter
from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import APITimeoutError, CreateUnknownError
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import lines_of
from batchmeter.testing.recorder import Recorder
from batchmeter_azure import AzureProvider

NOW = 1_744_402_048
"""When the fake resource makes its batches."""


@pytest.fixture
async def client(azure, tmp_path, monkeypatch):
    monkeypatch.setenv("BATCHMETER_PLUGINS", "azure")
    accounts = {
        "azure-eu": {
            "provider": "azure",
            "endpoint": azure.url,
            "api_version": azure.version,
            "api_key": "azure-key-0123456789",
            "region": "data-zone-eu",
            "deployments": {"batch4o": "gpt-4o-2024-08-06"},
            "storage_accounts": ["acct"],
        },
        "azure-global": {
            "provider": "azure",
            "endpoint": azure.url,
            "ad_token": "entra-token-0123456789",
            "region": "global",
        },
    }
    log = Recorder()
    settings, haste = Settings(accounts=accounts, track=False), Haste(tmp_path)
    async with AsyncClient(settings=settings, ledger=haste.ledger, plugins=[log, haste]) as client:
        client.log = log
        yield client


@pytest.mark.parametrize(
    ("account", "cost"),
    [("azure-global", "0.0007425"), ("azure-eu", "0.00081675")],  # $2.50 and $7.50 per million; data zones + 10 %
)
async def test_submitted_followed_and_priced(account, cost, client, azure):
    azure.pending = 0
    file = await client.files.create(
        file=("a.jsonl", lines_of(3, "batch4o")), purpose="batch", custom_llm_provider=account
    )
    batch = await client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"team": "search"},
        custom_llm_provider=account,
    )
    for _ in range(4):
        await client.batches.retrieve(batch.id, custom_llm_provider=account)
    settled = await client.batches.wait(batch.id, custom_llm_provider=account, timeout=20)
    assert settled.status == "completed"
    assert (settled.request_counts.total, settled.request_counts.succeeded) == (3, 3)
    assert settled.models.keys() == {"gpt-4o-2024-05-13"}
    assert (settled.usage.input_tokens, settled.usage.output_tokens) == (81, 72)
    assert settled.cost.total == Decimal(cost)
    assert (settled.provider, settled.account) == ("azure", account)


@pytest.mark.parametrize("asked", ["input_file_id", "extra_body"])
async def test_a_lost_create_on_own_storage_is_found_by_its_blob(asked, client, azure, monkeypatch):
    """Such batches carry no metadata, so no tag."""
    blob, folder = "https://acct.blob.core.windows.net/in/a.jsonl", "https://acct.blob.core.windows.net/out"
    given = {
        "input_file_id": {"input_file_id": f"{blob}?sig=signed", "extra_body": {"output_folder": folder}},
        "extra_body": {"extra_body": {"input_blob": blob, "output_folder": {"url": folder}}},
    }[asked]
    provider = client.accounts.get("azure-eu")
    monkeypatch.setattr(client.ledger.database, "_clock", lambda: NOW * 1000)
    other = BatchRequest(blob.replace("a.jsonl", "b.jsonl"), "/chat/completions")
    await provider.create_batch(other, CallOptions(extra_body={"output_folder": folder}))
    create = provider.create_batch

    async def lost(request, options):
        await create(request, options)
        raise APITimeoutError("no answer in time")

    with monkeypatch.context() as patched:
        patched.setattr(provider, "create_batch", lost)
        with pytest.raises(CreateUnknownError) as caught:
            await client.batches.create(
                endpoint="/chat/completions", metadata={"team": "search"}, custom_llm_provider="azure-eu", **given
            )
    assert "looks for it by its input" in str(caught.value)
    assert "sig=signed" not in str(caught.value)
    monkeypatch.setattr(client.ledger.database, "_clock", lambda: (NOW + 61) * 1000)
    assert await client.tracker.rounds["lost_creates"]() == 1
    intent = await client.ledger.intent(caught.value.intent_id)
    (made,) = [name for name, held in azure.batches.items() if "a.jsonl" in held["shown"]["input_blob"]]
    assert intent.batch_id == made
    assert (await client.ledger.get_batch(made)).submission.metadata == {"team": "search"}


async def test_a_run_is_split_by_azures_limits(client, azure, monkeypatch):
    azure.pending = 0
    assert AzureProvider.input_limits.lines == 100_000
    monkeypatch.setattr(AzureProvider, "input_limits", replace(AzureProvider.input_limits, lines=2))
    results = await batchmeter.arun(["a", "b", "c"], model="batch4o", provider="azure-eu", using=client)
    assert (len(results), len(azure.batches)) == (3, 2)
