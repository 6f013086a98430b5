"""Accounts at a fake Anthropic."""

import contextlib
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import pytest
from tests.vendor_kit import file_of, served

from batchmeter.providers import FileUpload
from batchmeter_anthropic.provider import AnthropicProvider
from batchmeter_anthropic.settings import AnthropicSettings

from .fake import KEY, FakeAnthropic, handler


@pytest.fixture
def vendor() -> Generator[FakeAnthropic]:
    fake = FakeAnthropic()
    with served(handler(fake)) as fake.base:
        yield fake


@pytest.fixture
async def make(vendor: FakeAnthropic, tmp_path) -> AsyncIterator[Callable[..., AnthropicProvider]]:
    """`make(format="native")`: an account at the fake; closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        def made(**settings: Any) -> AnthropicProvider:
            given: dict[str, Any] = {"api_key": KEY, "api_base": vendor.base, "spool": str(tmp_path / "spool")}
            provider = AnthropicProvider("anthropic", AnthropicSettings(**(given | settings)))
            stack.push_async_callback(provider.aclose)
            return provider

        yield made


@pytest.fixture
def provider(make: Callable[..., AnthropicProvider]) -> AnthropicProvider:
    return make()


@pytest.fixture
def upload() -> Callable[..., FileUpload]:
    """`upload(rows)` or `upload(b"…")`: a file on its way."""
    return file_of


@pytest.fixture
def chat() -> Callable[..., dict[str, Any]]:
    """`chat("id", "hi")`: one OpenAI line."""

    def made(custom_id: str, text: str = "hi", **body: Any) -> dict[str, Any]:
        full = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": text}], **body}
        return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": full}

    return made
