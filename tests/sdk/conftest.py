"""A sandbox served over real HTTP, and clients whose default account is it."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.sandbox import Sandbox, serve_sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve_sandbox() as served:
        yield served


@pytest.fixture
def log() -> Recorder:
    return Recorder()


@pytest.fixture
def make_client(tmp_path: Path, log: Recorder) -> Callable[..., AsyncClient]:
    """A client with a recording logger; its default account is the given address."""

    def make(url: str, *, track: bool = False, ledger: str | None = None) -> AsyncClient:
        settings = Settings(
            ledger=ledger or str(tmp_path / "ledger.db"),
            track=track,
            load=(),
            accounts={"openai": {"api_key": "sk-test-key", "api_base": url}},
        )
        return AsyncClient(settings=settings, plugins=[log], environ={})

    return make


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    return write_requests(tmp_path / "requests.jsonl")


def write_requests(path: Path, count: int = 20, model: str = "gpt-5-mini") -> Path:
    path.write_text(
        "".join(
            json.dumps(
                {
                    "custom_id": f"r-{number}",
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {"model": model, "messages": [{"role": "user", "content": f"question {number}"}]},
                }
            )
            + "\n"
            for number in range(count)
        )
    )
    return path
