"""Set-up that the tests of every vendor share: a fake's server, accounts at it, a client, OpenAI's SDK, the command line."""

import asyncio
import json
import socket
import subprocess
import threading
import time
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
from batchmeter.hookspecs import hookimpl
from batchmeter.ledger import open_ledger
from batchmeter.providers import FileUpload
from batchmeter.testing.providers import upload_of
from batchmeter_proxy import create_app


class BlockingHandler(BaseHTTPRequestHandler):
    """One connection to a blocking fake."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: a second one would wait 40 ms for the first one's acknowledgement

    def log_message(self, *args: object) -> None:
        return


@contextmanager
def served(handler: type[BlockingHandler]) -> Generator[str]:
    """The address of a blocking fake."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            server.handle_request()

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            over.set()
            socket.create_connection(("127.0.0.1", server.server_port)).close()  # wakes it; `shutdown` has it poll
            thread.join()


class Haste:
    """A plugin of a client that does not track, with a ledger: its waits end as soon as nothing is under way.

    The ledger's clock is then ahead by the seconds for which nobody slept.
    """

    def __init__(self, folder: Path) -> None:
        self.ledger = open_ledger(str(folder / "ledger.db"), clock=self.now)
        self._ahead = 0.0

    def now(self) -> int:
        return round((time.time() + self._ahead) * 1000)

    @hookimpl
    def startup(self, host: Any) -> None:
        tracker = host._parts.tracker

        async def sleep(seconds: float) -> None:
            if asyncio.current_task() in tracker.poller.tasks:  # work under way that keeps to its account's budget
                return await asyncio.sleep(seconds)
            await tracker.idle()
            self._ahead += seconds
            return None

        host._parts.sleep = tracker.poller.sleep = sleep


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
    haste = Haste(folder)
    async with AsyncClient(settings=settings, ledger=haste.ledger, plugins=[*plugins, haste]) as opened:
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
