"""The provider keeps batchmeter's contract, and a batch of it is metered and priced by rates of one's own."""

from decimal import Decimal

import pytest
from batchmeter_acme.provider import AcmeProvider, AcmeSettings
from vendor import KEY, Vendor

import batchmeter
from batchmeter.testing import ProviderContract
from batchmeter.testing.requests import lines_of
from batchmeter.testing.wire import serving


@pytest.fixture
async def url():
    async with serving(Vendor()) as served:
        yield f"{served}/v1"


class TestContract(ProviderContract):
    model = "acme-1"
    checks_keys = True

    @pytest.fixture
    async def provider(self, url):
        provider = AcmeProvider("acme", AcmeSettings(api_base=url, api_key=KEY))
        yield provider
        await provider.aclose()

    @pytest.fixture
    async def locked_out(self, url):
        provider = AcmeProvider("acme", AcmeSettings(api_base=url, api_key="a-wrong-key"))
        yield provider
        await provider.aclose()


async def test_a_batch_and_its_exact_cost(url, tmp_path):
    async with batchmeter.AsyncClient(
        ledger=tmp_path / "ledger.db",
        accounts={"acme": {"api_base": url, "api_key": KEY}},
        prices={"acme/acme-1": {"batch": {"input": "1.00", "cached_input": "0.50", "output": "2.00"}}},
        environ={"BATCHMETER_PLUGINS": "acme"},
    ) as client:
        file = await client.files.create(
            file=("input.jsonl", lines_of(2, "acme-1")), purpose="batch", custom_llm_provider="acme"
        )
        batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions")
        while not (await client.batches.retrieve(batch.id)).ended:
            pass
        settlement = await client.batches.wait(batch.id)
    # Of each line 6 tokens are read anew, 4 remembered, 3 written: (6 x 1.00 + 4 x 0.50 + 3 x 2.00) / 1,000,000.
    assert settlement.cost.total == Decimal("0.000028")


def test_the_key_is_for_its_own_host_only(monkeypatch):
    monkeypatch.setenv("ACME_API_KEY", "from-the-environment")
    assert AcmeSettings().api_key.get_secret_value() == "from-the-environment"
    assert AcmeSettings(api_base="https://elsewhere.example").api_key is None
