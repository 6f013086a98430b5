"""The Mistral provider keeps the contract."""

import pytest

from batchmeter.testing.providers import ProviderContract
from batchmeter_mistral.provider import MistralProvider
from batchmeter_mistral.settings import MistralSettings


class TestContract(ProviderContract):
    model = "mistral-small-latest"
    checks_keys = True
    unknown_file = "c8a1c7a6-0000-4000-8000-000000000000"
    unknown_batch = "c8a1c7a6-0000-4000-8000-000000000001"

    @pytest.fixture
    async def provider(self, account):
        return account

    @pytest.fixture
    async def locked_out(self, mistral):
        made = MistralProvider("mistral", MistralSettings(api_base=mistral.url, api_key="wrong-key-0123456789"))
        yield made
        await made.aclose()
