"""The sandbox in process keeps the contract that every provider keeps."""

import pytest

from batchmeter.testing.providers import ProviderContract
from batchmeter_sandbox.provider import SandboxProvider
from batchmeter_sandbox.settings import SandboxSettings


class TestInProcess(ProviderContract):
    @pytest.fixture
    async def provider(self):
        provider = SandboxProvider("sandbox", SandboxSettings(speed=1_000_000, seed=1))
        yield provider
        await provider.aclose()
