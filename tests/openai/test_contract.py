"""The OpenAI provider keeps the contract: against our sandbox, and against aimock, which nobody here wrote."""

import pytest

from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import ProviderContract, upload_of
from batchmeter.testing.sandbox import serve_sandbox

KEY = "sk-right-0123456789"


class TestOverSandbox(ProviderContract):
    checks_keys = True

    @pytest.fixture
    async def sandbox(self):
        async with serve_sandbox(api_key=KEY) as sandbox:
            yield sandbox

    @pytest.fixture
    async def provider(self, sandbox, account):
        return account(sandbox.url, api_key=KEY)

    @pytest.fixture
    async def locked_out(self, sandbox, account):
        return account(sandbox.url, api_key="sk-wrong-0123456789")


class TestOverAimock(ProviderContract):
    @pytest.fixture(params=["httpx", "httpx2"])
    async def provider(self, aimock, account, request, monkeypatch):
        monkeypatch.setenv("BATCHMETER_HTTP", request.param)
        return account(aimock)

    @pytest.mark.parametrize("outcome", ["failed", "expired", "cancelled"])
    async def test_other_ends(self, provider, outcome):
        file = await provider.create_file(upload_of(self.lines()), CallOptions())
        asked = CallOptions(extra_headers={"X-AIMock-Batch-Outcome": outcome})
        batch = await provider.create_batch(BatchRequest(file.id, self.endpoint), asked)
        for _ in range(self.looks):
            batch = await provider.retrieve_batch(batch.id, CallOptions())
            if batch.ended:
                break
        assert batch.status == outcome
