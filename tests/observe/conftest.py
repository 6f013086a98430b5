"""A served sandbox, and a batchmeter client of one's own that records what loggers get."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import batchmeter
from batchmeter.config import Settings
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.sandbox import Sandbox, sandbox_thread
from batchmeter.testing.wire import Answer, Script, serving


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with sandbox_thread() as served:
        yield served


@pytest.fixture
def log() -> Recorder:
    return Recorder()


@pytest.fixture
def make_meter(tmp_path: Path, log: Recorder) -> Iterator[Callable[..., batchmeter.Client]]:
    """A sync client with its own thread: what `using=` takes."""
    made: list[batchmeter.Client] = []

    def make(accounts: dict[str, dict[str, str]] | None = None) -> batchmeter.Client:
        settings = Settings(ledger=str(tmp_path / "meter.db"), track=False, load=(), accounts=accounts or {})
        made.append(batchmeter.Client(settings=settings, plugins=[log], environ={}))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def meter(make_meter: Callable[..., batchmeter.Client]) -> batchmeter.Client:
    return make_meter()


@pytest.fixture
def requests() -> bytes:
    return b"".join(
        json.dumps(
            {
                "custom_id": f"r-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "gpt-5-mini", "messages": [{"role": "user", "content": f"question {number}"}]},
            }
        ).encode()
        + b"\n"
        for number in range(5)
    )


@pytest.fixture
def azure() -> Iterator[Callable[..., tuple[str, str]]]:
    """The address of a server that answers every create with one batch, and that batch's id."""
    answer = {"id": "batch_az", "object": "batch", "status": "validating", "endpoint": "/chat/completions"}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def on_loop(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    server = serving(Script([Answer(body=json.dumps(answer).encode())]))
    yield lambda: (on_loop(server.__aenter__()), "batch_az")
    on_loop(server.__aexit__(None, None, None))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
