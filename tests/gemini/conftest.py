"""Accounts at a fake developer API of Gemini."""

import contextlib
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import pytest
from tests.vendor_kit import file_of, served

from batchmeter.providers import FileUpload
from batchmeter_gemini.provider import GeminiProvider
from batchmeter_gemini.settings import GeminiSettings

from .fake import KEY, FakeGemini, handler


@pytest.fixture
def vendor() -> Generator[FakeGemini]:
    fake = FakeGemini()
    with served(handler(fake)) as fake.base:
        yield fake


async def _at_once(seconds: float) -> None:
    return


@pytest.fixture
async def make(vendor: FakeGemini, tmp_path) -> AsyncIterator[Callable[..., GeminiProvider]]:
    """`make(format="native")`: an account at the fake; closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        def made(**settings: Any) -> GeminiProvider:
            given: dict[str, Any] = {"api_key": KEY, "api_base": vendor.base, "spool": str(tmp_path / "spool")}
            provider = GeminiProvider("gemini", GeminiSettings(**(given | settings)), http={"sleep": _at_once})
            stack.push_async_callback(provider.aclose)
            return provider

        yield made


@pytest.fixture
def provider(make: Callable[..., GeminiProvider]) -> GeminiProvider:
    return make()


@pytest.fixture
def upload() -> Callable[..., FileUpload]:
    """`upload(rows)` or `upload(b"…")`: a file on its way."""
    return file_of


@pytest.fixture
def chat() -> Callable[..., dict[str, Any]]:
    """`chat("id", "hi")`: one OpenAI line."""

    def made(custom_id: str, text: str = "hi", **body: Any) -> dict[str, Any]:
        full = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": text}], **body}
        return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": full}

    return made


@pytest.fixture
def embed() -> Callable[..., dict[str, Any]]:
    """`embed("id", "one", "two")`: one OpenAI line of embeddings."""

    def made(custom_id: str, *texts: str, **body: Any) -> dict[str, Any]:
        full = {"model": "gemini-embedding-001", "input": list(texts), **body}
        return {"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": full}

    return made
