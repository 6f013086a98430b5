"""Set-up that the tests of every vendor share: a fake's server, accounts at it, a client, OpenAI's SDK, the command line."""

import asyncio
import json
import subprocess
import threading
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
from tests.warm_python import WARM

import openai
from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.providers import FileUpload
from batchmeter.testing.providers import upload_of
from batchmeter_proxy import create_app


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Generator[str]:
    """The address of a blocking fake."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@asynccontextmanager
async def client_of(
    folder: Path, name: str, account: Mapping[str, Any], *plugins: object
) -> AsyncGenerator[AsyncClient]:
    """An open client with one account, whose ledger is in the folder."""
    settings = Settings(
        ledger=str(folder / "ledger.db"),
        default_account=name,
        accounts={name: dict(account)},
        track=False,
        proxy={"freshness": 0},
    )
    async with AsyncClient(settings=settings, plugins=plugins) as opened:
        yield opened


@asynccontextmanager
async def sdk_of(client: AsyncClient) -> AsyncGenerator[openai.AsyncOpenAI]:
    """OpenAI's SDK on the proxy of this client."""
    transport = httpx2.ASGITransport(create_app(client))
    async with httpx2.AsyncClient(transport=transport) as http:
        yield openai.AsyncOpenAI(base_url="http://proxy/v1", api_key="sk-any", http_client=http, max_retries=0)


def file_of(content: bytes | Iterable[object], *, filename: str = "in.jsonl", **more: Any) -> FileUpload:
    """A file of these bytes, or of these rows, on its way."""
    data = content if isinstance(content, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in content)
    return replace(upload_of(data, filename=filename), **more)


async def settled(client: AsyncClient, batch_id: str) -> Any:
    """The settlement of a batch whose fake takes a step at each look."""
    while not (await client.batches.retrieve(batch_id)).ended:
        pass
    return await client.batches.wait(batch_id, timeout=20)


async def submit_by_command(folder: Path, name: str, account: Mapping[str, str], content: bytes) -> dict[str, Any]:
    """The settlement that `batchmeter submit --wait --json` prints."""
    path, config = folder / "in.jsonl", folder / "batchmeter.toml"
    path.write_bytes(content)
    config.write_text(f"[accounts.{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in account.items()))
    arguments = ["--config", str(config), "submit", str(path), "--provider", name, "--wait", "--json"]
    command = [WARM, "-m", "batchmeter", *arguments]  # it wants its process' main thread
    done = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await done.communicate()
    assert done.returncode == 0, err
    return json.loads(out.splitlines()[-1])
