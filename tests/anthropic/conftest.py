"""Accounts at a fake Anthropic."""

import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from batchmeter.providers import FileUpload
from batchmeter_anthropic.provider import AnthropicProvider
from batchmeter_anthropic.settings import AnthropicSettings

from .fake import KEY, FakeAnthropic, handler


@pytest.fixture
def vendor() -> Generator[FakeAnthropic]:
    fake = FakeAnthropic()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(fake))
    fake.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


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

    def made(content: bytes | Iterable[object], purpose: str = "batch", **more: Any) -> FileUpload:
        data = content if isinstance(content, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in content)

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 64 * 1024):
                yield data[start : start + 64 * 1024]

        return FileUpload("in.jsonl", purpose, chunks, len(data), **more)

    return made


@pytest.fixture
def chat() -> Callable[..., dict[str, Any]]:
    """`chat("id", "hi")`: one OpenAI line."""

    def made(custom_id: str, text: str = "hi", **body: Any) -> dict[str, Any]:
        full = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": text}], **body}
        return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": full}

    return made
