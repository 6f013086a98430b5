"""The pages behind a real server: in this process, so that tests see what it holds, or as `batchmeter serve`."""

import asyncio
import os
import re
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import granian.constants
from granian.server.embed import Server
from tests.warm_python import WARM

from batchmeter import AsyncClient
from batchmeter_proxy import create_app

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def served(client: AsyncClient, app: "ASGIApp | None" = None) -> AsyncGenerator[str]:
    """Its address."""
    port = free_port()
    interface = granian.constants.Interfaces.ASGINL
    server = Server(app or create_app(client), address="127.0.0.1", port=port, interface=interface)
    task = asyncio.create_task(server.serve())
    try:
        for _ in range(500):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        await task


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Returns when it holds; fails after a long time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what the server does tells nobody
            await asyncio.sleep(0.01)


@contextmanager
def serving(ledger: Path, *options: str) -> Generator[str]:
    """`batchmeter serve` over a ledger, whose pages look for news at once; its address."""
    config = ledger.with_suffix(".toml")
    config.write_text("[plugins.ui]\nlive_seconds = 0.05\n")
    env = os.environ | {
        "BATCHMETER_CONFIG": str(config),
        "OPENAI_BASE_URL": "http://127.0.0.1:9",
        "OPENAI_API_KEY": "k",
        "BATCHMETER_LEDGER": str(ledger),
    }
    command = [WARM, "-m", "batchmeter", "serve", "--port", "0", "--no-track", *options]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=25)
        finally:
            process.kill()
