"""The Azure provider keeps the contract over classic and v1 URLs, and over an old preview's spellings."""

import pytest

from batchmeter.testing.providers import ProviderContract


class TestClassic(ProviderContract):
    model = "batch4o"
    settings = {"api_version": "2024-10-21"}  # noqa: RUF012 - a constant of the test
    checks_keys = True

    @pytest.fixture
    async def provider(self, account):
        return account(**self.settings)

    @pytest.fixture
    async def locked_out(self, account):
        return account(**self.settings, api_key="azure-wrong-0123456789")


class TestV1(TestClassic):
    settings = {}  # noqa: RUF012


class TestOldPreview(TestClassic):
    settings = {"api_version": "2024-07-01-preview"}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def old(self, azure):
        azure.version = "2024-07-01-preview"
