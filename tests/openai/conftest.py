"""OpenAI accounts for tests: one against a script, one against aimock."""

import contextlib

import pytest

from batchmeter_openai import OpenAIProvider, OpenAISettings


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """Tests see no variables of whoever runs them."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def account():
    """`account(api_base, **settings)`: a provider that does not really sleep, closed at the end."""

    async def nap(_seconds):
        return None

    async with contextlib.AsyncExitStack() as stack:

        def make(api_base=None, **settings):
            if api_base is not None:
                settings["api_base"] = api_base
            settings.setdefault("api_key", "sk-test-0123456789")
            provider = OpenAIProvider("openai", OpenAISettings(**settings), http={"sleep": nap})
            stack.push_async_callback(provider.aclose)
            return provider

        yield make
