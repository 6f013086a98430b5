"""A thousand file descriptors serve a full house with uploads, downloads and tracking; running out is one line. Linux only."""

import asyncio
import json
import os
import resource
import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import httpx2
import pytest
from tests.heavy import heavy
from tests.warm_python import WARM

from batchmeter import errors
from batchmeter.http import HttpClient, failure
from batchmeter.testing.sandbox import sandbox_thread
from batchmeter.testing.wire import Answer, Script, serving

from .conftest import CHAT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

FILES, IDLE, CLIENTS = heavy((1000, 840, 20), (400, 240, 12))
"""Open files of a worker, connections that are idle, and jobs beside them; a server keeps 128 files for other things."""
START = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({0}, {0})); from batchmeter.cli import main; main()"


@pytest.fixture
def many_files():
    """This process has the other ends of the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * FILES:
        pytest.skip(f"this process may open {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def limited_proxy(folder, address):
    """`batchmeter serve` that may open FILES files: its address, its process, and what it wrote to standard error."""
    (folder / "batchmeter.toml").write_text("[proxy]\nidle_seconds = 60\nfreshness = 0\n")
    environ = os.environ | {"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "sk-provider", "BATCHMETER_PLUGINS": ""}
    environ["BATCHMETER_LEDGER"] = str(folder / "served.db")
    errors_file = folder / "stderr"
    command = [WARM, "-c", START.format(FILES), "serve", "--port", "0"]
    with errors_file.open("w") as written:
        process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=PIPE, stderr=written, cwd=folder)
    try:
        first = await process.stdout.readline()
        yield first.decode().split()[2], process, errors_file
    finally:
        process.terminate()
        await process.communicate()


def open_files(process):
    """Of each worker."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in children]


async def work(http, lines):
    """A batch from its upload to its cost, and its output read."""
    files = {"file": ("in.jsonl", lines(20))}
    file = (await http.post("/files", data={"purpose": "batch"}, files=files)).json()
    body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    batch = (await http.post("/batches", json=body)).json()
    while (cost := await http.get(f"/batches/{batch['id']}/cost")).status_code == 202:
        assert (await http.get(f"/batches/{batch['id']}")).status_code == 200
    ended = (await http.get(f"/batches/{batch['id']}")).json()
    content = await http.get(f"/files/{ended['output_file_id']}/content")
    return cost.json()["settled"], len(content.text.splitlines())


async def test_a_thousand_files_serve_a_full_house(tmp_path, lines, many_files):
    with ExitStack() as stack:
        sandbox = stack.enter_context(sandbox_thread(speed=3000))
        async with limited_proxy(tmp_path, sandbox.url) as (url, process, written):
            host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
            idle = [await asyncio.open_connection(host, int(port)) for _ in range(IDLE)]
            async with httpx2.AsyncClient(base_url=url, timeout=60) as http:
                done = await asyncio.gather(*(work(http, lines) for _ in range(CLIENTS)))
            assert set(done) == {(True, 20)}
            assert IDLE < max(open_files(process)) < FILES
            for _, writer in idle:
                writer.close()
        [line] = written.read_text().splitlines()
    served = FILES - 128
    assert line == f"this process may open {FILES} files: each worker serves {served} connections, not 4096"


def test_too_few_files_are_one_line(tmp_path):
    environ = os.environ | {"OPENAI_API_KEY": "sk-provider", "BATCHMETER_LEDGER": str(tmp_path / "served.db")}
    command = [WARM, "-c", START.format(32), "serve", "--port", "0"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "error: this process may open 32 files, and a server needs 64: ulimit -n 4096\n"


async def test_running_out_of_files_is_one_line(library, caplog, monkeypatch):
    """Every call that needs a connection says why it has none; the log says so once."""
    monkeypatch.setattr(failure, "_silent_until", [0.0])
    async with serving(Script([Answer(200, json.dumps({}).encode())])) as address:
        clients = [HttpClient(address, max_retries=0, headers={"connection": "close"}) for _ in range(3)]
        for client in clients:
            await client.request("GET", "/")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            for client in clients:
                with pytest.raises(errors.APIConnectionError, match=r"as many files open .* ulimit -n") as caught:
                    await client.request("GET", "/")
                assert caught.value.never_sent
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients:
            await client.request("GET", "/")
            await client.aclose()
    assert len(caplog.records) == 1
    assert "ulimit -n" in caplog.text
