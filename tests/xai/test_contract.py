"""The xAI provider keeps the contract against a server with xAI's shapes."""

import pytest

from batchmeter.testing.providers import ProviderContract
from batchmeter_xai.provider import XAIProvider
from batchmeter_xai.settings import XAISettings


class TestContract(ProviderContract):
    model = "grok-4.3"
    checks_keys = True
    tells_times = False

    @pytest.fixture
    async def provider(self, account):
        return account

    @pytest.fixture
    async def locked_out(self, xai):
        made = XAIProvider("xai", XAISettings(api_base=xai.url, api_key="xai-wrong-0123456789", max_retries=0))
        yield made
        await made.aclose()


class TestContractWithSmallPages(TestContract):
    """xAI's pages hold fewer rows than are asked for."""

    @pytest.fixture
    async def xai(self, xai):
        xai.page = 1
        return xai
