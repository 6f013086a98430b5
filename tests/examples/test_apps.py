"""The example apps and scripts, run as they are."""

import asyncio
import importlib.util
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import httpx2
import pytest
from tests.warm_python import WARM

import batchmeter
import openai
from batchmeter.testing.sandbox import Sandbox, sandbox_thread

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with sandbox_thread() as served:
        monkeypatch.setenv("OPENAI_BASE_URL", served.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        yield served


HURRY = """
import runpy, sys
from batchmeter.tracker.schedule import BACKGROUND

for name in ("shortest", "step"):  # a tracker leaves a batch alone for 15 s
    object.__setattr__(BACKGROUND, name, 0.1)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(name: str, *arguments: str) -> str:
    command = [WARM, "-c", HURRY, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def requests_in(path: Path, count: int) -> str:
    from batchmeter.testing.providers import lines_of

    path.write_bytes(lines_of(count, "gpt-5-mini"))
    return str(path)


def test_observed_openai(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sandbox_thread(speed=10_000) as slower:  # seen while it is validated, for 6 ms, it is looked at soon
        monkeypatch.setenv("OPENAI_BASE_URL", slower.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        said = run("observed_openai.py", requests_in(tmp_path / "in.jsonl", 4)).splitlines()
    assert said[0].endswith("is completed")
    assert said[1].startswith("completed: 4 answers, ")
    assert "tokens, $0.0" in said[1]
    assert len(said) == 2


def test_celery_style_worker(sandbox: Sandbox, tmp_path: Path) -> None:
    paths = [requests_in(tmp_path / name, 3) for name in ("a.jsonl", "b.jsonl")]
    said = sorted(run("celery_style_worker.py", *paths).splitlines())
    assert [line.partition(", $")[0] for line in said] == ["a.jsonl: completed", "b.jsonl: completed"]
    assert all(float(line.partition("$")[2]) > 0 for line in said)
    with openai.OpenAI() as client:
        assert len(client.batches.list().data) == 2, "each task came twice and submitted once"


@pytest.fixture
def example(sandbox: Sandbox) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("example_fastapi_app", EXAMPLES / "fastapi_app" / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    batchmeter.off(module.remember)


@pytest.fixture
async def http(example: ModuleType) -> AsyncIterator[httpx2.AsyncClient]:
    """The app as a server runs it: started, and asked over ASGI."""
    async with example.app.router.lifespan_context(example.app):
        transport = httpx2.ASGITransport(example.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://app.test") as client:
            yield client
    assert not example.meter.is_open


async def test_fastapi_app(http: httpx2.AsyncClient, example: ModuleType, tmp_path: Path) -> None:
    path = requests_in(tmp_path / "in.jsonl", 4)
    submitted = (await http.post("/jobs/ann", files={"requests": Path(path).read_bytes()})).json()
    batch_id = submitted["batch"]
    assert (await http.get(f"/jobs/{batch_id}/cost")).status_code == 404
    # Through the mounted proxy, whose every look advances the ledger: the tracker need not be waited for.
    client = openai.AsyncOpenAI(api_key="sk-any", base_url="http://app.test/llm/v1", http_client=http)
    while (await client.batches.retrieve(batch_id)).status != "completed":
        pass
    await example.meter.batches.wait(batch_id)
    assert await example.meter.deliverer.drain(20)
    endings = (await http.get("/endings")).json()
    assert [(ending["batch"], ending["status"], ending["user"]) for ending in endings] == [
        (batch_id, "completed", "ann")
    ]
    cost = (await http.get(f"/jobs/{batch_id}/cost")).json()
    assert cost["total"] == endings[0]["usd"]
    assert float(cost["total"]) > 0
    assert example.meter.loop is asyncio.get_running_loop()
