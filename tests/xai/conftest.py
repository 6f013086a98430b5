"""One team at xAI, and an account of it."""

import pytest

from batchmeter.testing.wire import serving
from batchmeter_xai.provider import XAIProvider
from batchmeter_xai.settings import XAISettings

from .site import KEY, FakeXAI


@pytest.fixture
async def xai():
    fake = FakeXAI()
    async with serving(fake) as url:
        fake.url = f"{url}/v1"
        yield fake


@pytest.fixture
async def account(xai):
    made = XAIProvider("xai", XAISettings(api_base=xai.url, api_key=KEY, max_retries=0))
    yield made
    await made.aclose()
