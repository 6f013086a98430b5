"""The default client over a served sandbox."""

from collections.abc import Iterator

import pytest

import batchmeter
from batchmeter.testing.sandbox import Sandbox, sandbox_thread


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with sandbox_thread() as served:
        monkeypatch.setenv("OPENAI_BASE_URL", served.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        yield served
        batchmeter.close()
