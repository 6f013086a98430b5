"""The command line over Azure and Vertex AI accounts side by side in one configuration file."""

import asyncio
import json
import threading
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from tests.azure.conftest import FakeAzure

from batchmeter.cli import main
from batchmeter.testing.wire import serving

CONFIG = """
[accounts.azure-eu]
provider = "azure"
endpoint = "{azure}"
api_key = "azure-key-0123456789"
region = "data-zone-eu"
deployments = {{ batch4o = "gpt-4o-2024-08-06" }}

[accounts.vertex]
provider = "vertex_ai"
project = "proj"
location = "us-central1"
bucket = "{bucket}"
token = "test-token"
api_base = "{vertex}"
storage_base = "{storage}"
"""


@pytest.fixture
def azure():
    """Served by a thread: the command has the main one."""
    fake, ready, done = FakeAzure(pending=0), threading.Event(), asyncio.Event()

    async def serve():
        async with serving(fake) as fake.url:
            ready.loop = asyncio.get_running_loop()
            ready.set()
            await done.wait()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    ready.wait()
    yield fake
    ready.loop.call_soon_threadsafe(done.set)
    thread.join()


@pytest.fixture
def command(azure, vertex, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHMETER_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("BATCHMETER_PLUGINS", "azure,vertex_ai")
    monkeypatch.setattr("tests.azure.conftest.STEPS", ("validating", "completed"))
    vertex.tick, vertex.now = 120, datetime.now(UTC)
    told = {"azure": azure.url, "vertex": vertex.base, "bucket": vertex.bucket.name, "storage": vertex.bucket.base}
    (tmp_path / "batchmeter.toml").write_text(CONFIG.format(**told))

    def run(*arguments):
        result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def requests(folder, model):
    path = folder / f"{model}.jsonl"
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    rows = [{"custom_id": f"r-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_both_from_one_file(command, azure, vertex, tmp_path):
    ran = json.loads(command("submit", requests(tmp_path, "batch4o"), "--provider", "azure-eu", "--wait", "--json"))
    assert (ran["account"], ran["provider"], ran["status"]) == ("azure-eu", "azure", "completed")
    assert ran["cost"]["total"] == "0.00081675"
    on_vertex = requests(tmp_path, "gemini-2.5-flash")
    ran = json.loads(command("submit", on_vertex, "--provider", "vertex", "--wait", "--json"))
    assert (ran["account"], ran["provider"], ran["status"]) == ("vertex", "vertex_ai", "completed")
    assert ran["cost"]["total"] is not None
    shown = json.loads(command("batches", "--json"))
    assert sorted(one["account"] for one in shown) == ["azure-eu", "vertex"]
    assert "deleted" in command("batches", "delete", ran["batch_id"])
    assert vertex.jobs == {}
