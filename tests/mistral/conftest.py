"""One workspace at Mistral, and an account of it."""

import pytest

from batchmeter.testing.wire import serving
from batchmeter_mistral.provider import MistralProvider
from batchmeter_mistral.settings import MistralSettings

from .site import KEY, FakeMistral


@pytest.fixture
async def mistral():
    fake = FakeMistral()
    async with serving(fake) as url:
        fake.url = f"{url}/v1"
        yield fake


@pytest.fixture
async def account(mistral):
    made = MistralProvider("mistral", MistralSettings(api_base=mistral.url, api_key=KEY, max_retries=0))
    yield made
    await made.aclose()
